"""The rows of the table that `make bench` prints, and small things that its groups share."""
import statistics
import urllib.request

ROWS = []


def row(what, ours, beside="", ratio="", aim=""):
    ROWS.append((what, ours, beside, ratio, aim))
    print(f"  {what}: {ours} | {beside} | {ratio} | {aim}", flush=True)


def print_table():
    print("\n| figure | ours | beside | ratio | aim |\n| --- | --- | --- | --- | --- |")
    for r in ROWS:
        print("| " + " | ".join(r) + " |")


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as r:
        return r.read()


def median(values):
    return statistics.median(values)


def percentile(values, share):
    """The value that the given share of all is not above."""
    v = sorted(values)
    return v[min(int(share * len(v)), len(v) - 1)]


def spread(values, unit="ms"):
    """Of few values: median, 90th percentile and worst."""
    return f"{median(values):.0f} / {percentile(values, 0.9):.0f} / {max(values):.0f} {unit}"
