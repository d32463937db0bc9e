"""Runs the tests and closes with one line: N passed, M failed.

C tests are cmocka programs (build/.../test/<room>_<what>), simulations are programs sim_* that take SEEDS,
whole-process tests are unittest modules test/e2e/test_*.py that find the build in $BUILD.
"""
import argparse
import glob
import os
import re
import subprocess
import sys
import time

TIMEOUT_S = 600
# Runs of each simulation, unless --seeds says otherwise: about a minute's work together.
SEEDS = {"sim_log_cluster": "700", "sim_sched_cluster": "300"}


def run(cmd, env=None, timeout=TIMEOUT_S):
    start = time.monotonic()
    try:
        p = subprocess.run(cmd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           timeout=timeout)
        rc, out = p.returncode, p.stdout
    except subprocess.TimeoutExpired as e:
        rc, out = -1, (e.stdout or b"") + b"\nTIMEOUT\n"
    return rc, out.decode("utf-8", "replace"), time.monotonic() - start


def report(name, passed, failed, rc, out, secs):
    if rc != 0 and failed == 0:
        failed = 1
    print(f"{'ok  ' if not failed else 'FAIL'} {name}: {passed} passed, {failed} failed ({secs:.1f} s)", flush=True)
    if failed:
        print("\n".join("    " + line for line in out.splitlines()[-200:]), flush=True)
    return passed, failed


def cmocka(path, seeds=None):
    rc, out, secs = run([path], env=dict(os.environ, SEEDS=seeds) if seeds else None)
    return report(os.path.basename(path), len(re.findall(r"^\[\s+OK \]", out, re.M)),
                  len(set(re.findall(r"^\[\s+FAILED\s+\] (\w+)$", out, re.M))), rc, out, secs)


def module(path, build):
    env = dict(os.environ, BUILD=os.path.abspath(build), PYTHONPATH=os.path.abspath("test/lib"),
               PYTHONDONTWRITEBYTECODE="1")
    rc, out, secs = run(["/usr/bin/python3", path, "-v"], env, timeout=1200)
    ran = re.search(r"^Ran (\d+) tests?", out, re.M)
    bad = re.search(r"FAILED \((.*)\)", out)
    failed = sum(int(n) for n in re.findall(r"(?:failures|errors)=(\d+)", bad.group(1))) if bad else 0
    skipped = int((re.search(r"skipped=(\d+)", out) or [0, 0])[1])
    for line in re.findall(r"^.* \.\.\. skipped .*$", out, re.M):
        print(f"skip {line}", flush=True)
    return report(os.path.basename(path), (int(ran.group(1)) if ran else 0) - failed - skipped, failed, rc, out, secs)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--build", required=True)
    ap.add_argument("--only", choices=["unit", "sim", "e2e"])
    ap.add_argument("--seeds", help="runs of each simulation")
    ap.add_argument("--match", default="", help="only tests whose name contains this")
    a = ap.parse_args()
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
    os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    os.environ["BUILD"] = os.path.abspath(a.build)
    jobs = []
    for src in sorted(glob.glob("test/unit/*.c")):
        if a.only in (None, "unit"):
            jobs.append((cmocka, os.path.join(a.build, "test", os.path.basename(src)[:-2])))
    for src in sorted(glob.glob("test/sim/*.c")):
        if a.only in (None, "sim"):
            name = "sim_" + os.path.basename(src)[:-2]
            seeds = a.seeds or SEEDS.get(name, "100")
            jobs.append((lambda p, n=seeds: cmocka(p, n), os.path.join(a.build, "test", name)))
    for src in sorted(glob.glob("test/e2e/test_*.py")):
        if a.only in (None, "e2e"):
            jobs.append((lambda p: module(p, a.build), src))
    jobs = [(fn, p) for fn, p in jobs if a.match in os.path.basename(p)]
    passed = failed = 0
    for fn, path in jobs:
        p, f = fn(path)
        passed, failed = passed + p, failed + f
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
