"""The figures of `make bench`, each beside the limit of the same machine in the same run: kinds are interleaved, so that all meet
the same background load, and ratios are what to compare. How to read them: docs/bench.md.
"""
import argparse
import os
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import group_failover  # noqa: E402
import group_http  # noqa: E402
import group_job  # noqa: E402
import group_log  # noqa: E402
from table import print_table  # noqa: E402

GROUPS = {"log": group_log.run, "http": group_http.run, "job": group_job.run, "idle": group_job.run_idle,
          "failover": group_failover.run}
GROUP_S = 420  # no group takes longer, whatever hangs


def on_alarm(*_):
    raise TimeoutError(f"not done within {GROUP_S} s")


def run_group(name, build, rounds):
    """Whether it came to its end. What it had started is stopped, and what it had measured stays in the table."""
    print(f"{name}:", flush=True)
    began = time.monotonic()
    signal.alarm(GROUP_S)
    try:
        GROUPS[name](build, rounds)
        return True
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()
        return False
    finally:
        signal.alarm(0)
        print(f"  ({name}: {time.monotonic() - began:.0f} s)", flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    ap.add_argument("--build", required=True)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--only", default="", help="groups, with commas between: " + ", ".join(GROUPS))
    a = ap.parse_args()
    names = a.only.split(",") if a.only else list(GROUPS)
    for n in names:
        if n not in GROUPS:
            ap.error(f"no group {n}")
    signal.signal(signal.SIGALRM, on_alarm)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = [n for n in names if not run_group(n, os.path.abspath(a.build), a.rounds)]
    print_table()
    if failed:
        sys.exit("not measured to the end: " + ", ".join(failed))


if __name__ == "__main__":
    main()
