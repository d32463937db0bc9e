"""The checks behind `make tidy` that are not clang-format's: each header compiles alone, clang-tidy is content, and no file holds a
word that has no place here. Results of clang-tidy are remembered by content in build/tidy/."""
import concurrent.futures
import glob
import hashlib
import json
import os
import re
import subprocess
import sys

ROOMS = ["core", "net", "log", "zk", "mesos", "mesos/local", "admin"]
FLAGS = ["-I.", "-Ibuild/gen", "-I/usr/share/include/llhttp", "-D_GNU_SOURCE", "-std=gnu11"]
BANNED = re.compile(r"TO" r"DO|FIX" r"ME|(?<!X)XX" r"X\b|/home/|/ro" r"ot/|-Wno-|NO" r"LINT")

bad = []
for h in sorted(p for r in ROOMS for p in glob.glob(f"{r}/*.h")):
    p = subprocess.run(["cc", *FLAGS, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c", "-include", h, "/dev/null"],
                       capture_output=True, text=True)
    if p.returncode:
        bad.append(f"{h} does not compile alone:\n{p.stderr}")

tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True).stdout.split("\n")
for f in filter(None, tracked):
    if f in ("test/tidy.py", "LICENSE") or not os.path.isfile(f):
        continue
    try:
        text = open(f, encoding="utf-8").read()
    except UnicodeDecodeError:
        continue
    for n, line in enumerate(text.split("\n"), 1):
        if BANNED.search(line):
            bad.append(f"{f}:{n}: banned word: {line.strip()}")

os.makedirs("build/tidy", exist_ok=True)
headers = "".join(open(h, encoding="utf-8").read()
                  for h in sorted(glob.glob("*/*.h") + glob.glob("mesos/local/*.h")) + [".clang-tidy"])


def tidy(source):
    key = hashlib.sha256((headers + open(source, encoding="utf-8").read()).encode()).hexdigest()
    mark = f"build/tidy/{source.replace('/', '_')}.{key}"
    if os.path.exists(mark):
        return ""
    p = subprocess.run(["clang-tidy", "--quiet", "-p", ".", source], capture_output=True, text=True)
    if p.returncode == 0:
        open(mark, "w").close()
        return ""
    return p.stdout + p.stderr


sources = [e["file"] for e in json.load(open("compile_commands.json")) if not e["file"].startswith("test/")]
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    bad += [out for out in pool.map(tidy, sources) if out]
print("\n".join(bad), file=sys.stderr)
sys.exit(1 if bad else 0)
