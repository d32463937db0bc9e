"""A large job on a large cluster, and the memory that it takes."""
import http.client
import json
import multiprocessing
import re
import statistics
import time

from cluster import Cluster, wait_until
from table import get, row


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
        raise RuntimeError(f"createJob: {answer}")
    wait_until(lambda: running(c.scheduler.http_port) >= total, 600, pause=0.02)
    return time.perf_counter() - start


def run(build, rounds):
    rounds = min(rounds, 3)
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


def run_idle(build, _rounds):
    with Cluster(build=build, agents=1, simulate=True) as c:
        row("resident memory, idle", f"{rss_kib(c.scheduler.pid) / 1024:.1f} MB", "", "", "< 20 MB")
