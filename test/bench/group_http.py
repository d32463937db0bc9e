"""/health and /vars beside nginx, which serves the same bytes from files."""
import os
import re
import statistics
import subprocess
import tempfile

from cluster import Cluster, free_port, wait_until
from table import get, row

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
        raise RuntimeError(f"{url}: {out}")
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), float(p99.group(1)) * unit[p99.group(2)]


def run(build, rounds, seconds=2):
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
