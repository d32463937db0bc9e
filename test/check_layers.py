"""Fails when a room includes what it may not (docs/ARCHITECTURE.md, "Rooms")."""
import glob
import re
import sys

C11 = set("assert ctype errno float inttypes limits math stdalign stdarg stdbool stddef stdint stdio stdlib stdnoreturn "
          "string".split())
# Functions of those headers that reach the outside world have no place in the pure rooms either.
IMPURE = re.compile(r"\b(fopen|fread|fwrite|printf|fprintf|puts|getenv|system|rand|srand|time|clock|exit|gettimeofday|"
                    r"clock_gettime|socket|open|read|write)\s*\(")
ROOMS = {
    "core": dict(rooms={"core"}, libs={"uthash"}, pure=True),
    "net": dict(rooms={"core", "net"}, libs={"uv", "llhttp", "openssl", "uthash"}),
    "log": dict(rooms={"core", "log"}, libs={"uv", "lmdb", "protobuf-c", "openssl", "zlib", "uthash"}),
    "zk": dict(rooms={"core", "zk"}, libs={"uv", "zookeeper", "cjson"}),
    "mesos": dict(rooms={"core", "net", "mesos"}, libs={"uv", "protobuf-c", "openssl", "cjson", "uthash"}),
    "admin": dict(rooms={"core", "net", "log", "zk", "mesos", "admin"},
                  libs={"uv", "cjson", "systemd", "zlib", "openssl", "uthash", "protobuf-c"}),
}
LIB_OF = [(r"uv\.h|uv/", "uv"), (r"llhttp\.h", "llhttp"), (r"lmdb\.h", "lmdb"), (r"protobuf-c/", "protobuf-c"),
          (r"zookeeper/", "zookeeper"), (r"cjson/", "cjson"), (r"openssl/", "openssl"), (r"zlib\.h", "zlib"),
          (r"systemd/", "systemd"), (r"uthash\.h|utlist\.h|utarray\.h", "uthash")]
# log/replica.c and log/coordinator.c and their like are as pure as the core.
PURE_FILES = {f"log/{name}.{ext}" for name in ("message", "iset", "replica", "coordinator", "survey", "filler", "recover",
                                              "catchup", "quorum") for ext in "ch"}

bad = 0


def complain(path, n, text):
    global bad
    bad += 1
    print(f"{path}:{n}: {text}", file=sys.stderr)


for room, rule in ROOMS.items():
    paths = glob.glob(f"{room}/*.[ch]") + (glob.glob("mesos/local/*.[ch]") if room == "mesos" else [])
    for path in sorted(paths):
        pure = rule.get("pure") or path in PURE_FILES
        for n, line in enumerate(open(path, encoding="utf-8"), 1):
            code = re.sub(r"/\*.*?\*/|//.*|\"(\\.|[^\"])*\"", "", line) if "#include" not in line else line
            m = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', code)
            if not m:
                if pure and not re.match(r"\s*(/?\*)", line) and IMPURE.search(code):
                    complain(path, n, f"{line.strip()}: no I/O, clock or randomness in a pure file")
                continue
            name = m.group(2)
            lib = next((l for pat, l in LIB_OF if re.match(pat, name)), None)
            if m.group(1) == '"' and "/" in name and name.split("/")[0] in ROOMS:
                if name.split("/")[0] not in rule["rooms"]:
                    complain(path, n, f"{room}/ may not include {name}")
            elif m.group(1) == '"' and name in ("api.gen.h", "build_info.h"):
                pass
            elif lib:
                if lib not in rule["libs"] or (pure and lib not in {"uthash"}):
                    complain(path, n, f"{path} may not include {name}")
            elif pure and name.removesuffix(".h") not in C11:
                complain(path, n, f"a pure file may not include {name}")
sys.exit(1 if bad else 0)
