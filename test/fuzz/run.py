"""Runs every fuzzer of a build, two at a time, and prints a line for each; exit status 1 on a finding, whose input is kept in
BUILD/crash-*.

usage: run.py --build build/fuzz --seconds N [--match TEXT]
Replay a finding with: build/fuzz/test/fuzz_NAME build/fuzz/crash-NAME-..."""
import argparse
import concurrent.futures
import glob
import os
import re
import subprocess
import sys

MAX_INPUT_BYTES = 65536
MAX_SECONDS_PER_INPUT = 10
MAX_MEGABYTES = 2048


def run(program, build, seconds):
    name = os.path.basename(program).removeprefix("fuzz_")
    found = os.path.join(build, "corpus", name)  # what this machine's runs added
    os.makedirs(found, exist_ok=True)
    given = os.path.join("test/fuzz/corpus", name)
    crash = os.path.join(build, f"crash-{name}-")
    p = subprocess.run([program, f"-max_total_time={seconds}", f"-max_len={MAX_INPUT_BYTES}", f"-timeout={MAX_SECONDS_PER_INPUT}",
                        f"-rss_limit_mb={MAX_MEGABYTES}", f"-artifact_prefix={crash}", "-print_final_stats=1", found,
                        *([given] if os.path.isdir(given) else [])], capture_output=True, text=True, errors="replace")
    runs = re.search(r"stat::number_of_executed_units:\s*(\d+)", p.stderr)
    if p.returncode == 0 and runs and int(runs.group(1)):
        return True, f"fuzz_{name}: {runs.group(1)} runs, ok"
    kept = re.search(r"Test unit written to (\S+)", p.stderr)
    tail = "\n".join("    " + line for line in (p.stdout + p.stderr).splitlines()[-60:])
    return False, f"fuzz_{name}: FAILED, input {kept.group(1) if kept else 'not kept'}\n{tail}"


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--build", required=True)
    ap.add_argument("--seconds", type=int, required=True)
    ap.add_argument("--match", default="", help="only fuzzers whose name contains this")
    a = ap.parse_args()
    names = sorted(os.path.basename(s)[:-2] for s in glob.glob("test/fuzz/*.c"))
    programs = [os.path.join(a.build, "test", "fuzz_" + n) for n in names if a.match in n]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = []
        for ok, text in pool.map(lambda p: run(p, a.build, a.seconds), programs):
            print(text, flush=True)
            results.append(ok)
    sys.exit(0 if results and all(results) else 1)


main()
