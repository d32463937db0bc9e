"""The figures of `make bench`, each beside the limit of the same machine in the same run: kinds are interleaved, so that all meet
the same background load, and ratios are what to compare.
"""
import argparse
import http.client
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
from cluster import Cluster, free_port, wait_until  # noqa: E402

ROWS = []


def row(what, ours, limit, ratio, aim=""):
    ROWS.append((what, ours, limit, ratio, aim))
    print(f"  {what}: {ours} | {limit} | {ratio} | {aim}", flush=True)


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as r:
        return r.read()


# ---------------- the log ----------------

def bench_log(build, rounds):
    with tempfile.TemporaryDirectory(dir=build) as d:
        out = subprocess.run([f"{build}/test/bench_append", d, str(rounds), "1"], check=True, stdout=subprocess.PIPE).stdout
    r = json.loads(out)
    row("durable appends/s, 1 caller (1 KiB)", f"{r['log_1']:.0f}", f"raw fdatasync {r['raw_1']:.0f}", f"{r['ratio_1']:.2f}")
    row("durable appends/s, 64 callers (1 KiB)", f"{r['log_64']:.0f}", f"raw fdatasync of 64 KiB {r['raw_64']:.0f}",
        f"{r['ratio_64']:.2f}")


# ---------------- HTTP against nginx ----------------

NGINX = """
{user} worker_processes 1; daemon off; pid {d}/pid; error_log {d}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; default_type text/plain;
  client_body_temp_path {d}/a; proxy_temp_path {d}/b; fastcgi_temp_path {d}/c; uwsgi_temp_path {d}/e; scgi_temp_path {d}/f;
  server {{ listen 127.0.0.1:{port}; root {d}/www; }} }}
"""


def wrk(url, seconds):
    out = subprocess.run(["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", url], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"{url}: {out}")
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), float(p99.group(1)) * unit[p99.group(2)]


def bench_http(build, rounds, seconds):
    pad = {f"BENCH_PAD_{i:02}": "x" * 1000 for i in range(40)}  # environment variables show in /vars: up to about 60 KB
    with Cluster(build=build, agents=1, simulate=True, env=pad) as c, tempfile.TemporaryDirectory() as d:
        mine = c.scheduler.http_port
        os.mkdir(f"{d}/www")
        for name in ("health", "vars"):
            open(f"{d}/www/{name}", "wb").write(get(mine, f"/{name}"))
        size = os.path.getsize(f"{d}/www/vars")
        port = free_port()
        open(f"{d}/nginx.conf", "w").write(NGINX.format(d=d, port=port, user="user root;" if os.geteuid() == 0 else ""))
        nginx = subprocess.Popen(["nginx", "-c", f"{d}/nginx.conf", "-e", f"{d}/error.log"])
        try:
            wait_until(lambda: get(port, "/health"), 10)
            for name, aim in (("health", "0.9"), ("vars", "0.7")):
                ours, theirs = [], []
                for _ in range(rounds):
                    theirs.append(wrk(f"http://127.0.0.1:{port}/{name}", seconds))
                    ours.append(wrk(f"http://127.0.0.1:{mine}/{name}", seconds))
                ratio = statistics.median(o[0] / t[0] for o, t in zip(ours, theirs))
                row(f"/{name}" + (f" ({size} bytes)" if name == "vars" else "") + ", requests/s (p99)",
                    f"{statistics.median(o[0] for o in ours):.0f} ({statistics.median(o[1] for o in ours):.2f} ms)",
                    f"nginx {statistics.median(t[0] for t in theirs):.0f} ({statistics.median(t[1] for t in theirs):.2f} ms)",
                    f"{ratio:.2f}", f">= {aim}")
        finally:
            nginx.terminate()
            nginx.wait()


# ---------------- a large job ----------------

def probe_health(port, stop, out):
    """Asks /health every 5 ms over one connection and gives all latencies in ms."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    latencies = []
    while not stop.is_set():
        start = time.perf_counter()
        conn.request("GET", "/health")
        conn.getresponse().read()
        latencies.append((time.perf_counter() - start) * 1e3)
        stop.wait(0.005)
    out.put(latencies)


def rss_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))


def settled_rss_kib(c):
    """Once all is durable and the burst's memory has gone back."""
    wait_until(lambda: c.scheduler.var("pipeline_held_steps") == 0, 60)
    lowest = rss_kib(c.scheduler.pid)
    for _ in range(80):
        time.sleep(0.1)
        lowest = min(lowest, rss_kib(c.scheduler.pid))
    return lowest


def job(name, instances):
    key = {"role": "www", "environment": "prod", "name": name}
    return {"key": key, "owner": {"user": "www"}, "instanceCount": instances,
            "taskConfig": {"job": key, "owner": {"user": "www"}, "isService": True,
                           "resources": [{"numCpus": 0.1}, {"ramMb": 16}, {"diskMb": 16}],
                           "executorConfig": {"name": "CommandExecutor", "data": "true"}}}


def running(port):
    return json.loads(get(port, "/vars.json")).get("task_store_RUNNING", 0)


def run_job(c, name, instances, total):
    start = time.perf_counter()
    answer = c.rpc("createJob", description=job(name, instances))
    if answer["responseCode"] != "OK":
        raise SystemExit(f"createJob: {answer}")
    wait_until(lambda: running(c.scheduler.http_port) >= total, 600, pause=0.02)
    return time.perf_counter() - start


def bench_job(build, rounds):
    seconds, p99s, worst = [], [], []
    for _ in range(rounds):
        with Cluster(build=build, agents=1000, simulate=True, agent_resources="cpus:64;mem:65536;disk:1000000;ports:[31000-32000]",
                     flags=["-max_tasks_per_job=100000"]) as c:
            wait_until(lambda: json.loads(get(c.scheduler.http_port, "/vars.json")).get("outstanding_offers", 0) >= 1000, 60)
            idle = rss_kib(c.scheduler.pid)
            stop, out = multiprocessing.Event(), multiprocessing.Queue()
            probe = multiprocessing.Process(target=probe_health, args=(c.scheduler.http_port, stop, out), daemon=True)
            probe.start()
            seconds.append(run_job(c, "large", 10000, 10000))
            stop.set()
            latencies = sorted(out.get(timeout=60))
            probe.join()
            p99s.append(latencies[int(len(latencies) * 0.99)])
            worst.append(latencies[-1])
            first = settled_rss_kib(c)
            run_job(c, "larger", 30000, 40000)
            second = settled_rss_kib(c)
    row("createJob of 10,000 on 1,000 agents until all RUNNING", f"{statistics.median(seconds):.2f} s", "", "", "< 5 s")
    row("/health meanwhile, p99 (worst)", f"{statistics.median(p99s):.2f} ms ({max(worst):.2f} ms)", "", "", "< 10 ms")
    row("resident memory per running task", f"{(second - first) * 1024 / 30000:.0f} bytes", f"{idle} KiB with 1,000 offers", "",
        "< 1024 bytes")


def bench_idle(build):
    with Cluster(build=build, agents=1, simulate=True) as c:
        row("resident memory, idle", f"{rss_kib(c.scheduler.pid) / 1024:.1f} MB", "", "", "< 20 MB")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--build", required=True)
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--only", choices=["log", "http", "job", "idle"])
    a = ap.parse_args()
    build = os.path.abspath(a.build)
    kinds = {"log": lambda: bench_log(build, a.rounds), "http": lambda: bench_http(build, a.rounds, 2),
             "job": lambda: bench_job(build, min(a.rounds, 3)), "idle": lambda: bench_idle(build)}
    for name, fn in kinds.items():
        if a.only in (None, name):
            fn()
    print("\n| figure | ours | beside | ratio | aim |\n| --- | --- | --- | --- | --- |")
    for r in ROWS:
        print("| " + " | ".join(r) + " |")


if __name__ == "__main__":
    main()
