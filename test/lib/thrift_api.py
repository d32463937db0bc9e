"""The API by an independent library: python3-thrift, with code that thrift-compiler makes from our IDL."""
import importlib
import os
import subprocess
import sys
import tempfile
import urllib.request

from thrift.protocol import TBinaryProtocol, TJSONProtocol
from thrift.transport import TTransport

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
JSON_TYPE = "application/vnd.apache.thrift.json"
BINARY_TYPE = "application/vnd.apache.thrift.binary"
PROTOCOLS = {JSON_TYPE: TJSONProtocol.TJSONProtocolFactory(), BINARY_TYPE: TBinaryProtocol.TBinaryProtocolFactory()}


def make_hashable(ttypes):
    for value in vars(ttypes).values():  # members of sets, but the generated classes only know equality
        if isinstance(value, type) and hasattr(value, "thrift_spec"):
            value.__hash__ = lambda self: hash(self_form(self))


def self_form(value):
    """Equal for equal values, whatever the order of sets and maps."""
    if isinstance(value, (set, frozenset)):
        return frozenset(self_form(v) for v in value)
    if isinstance(value, dict):
        return frozenset((self_form(k), self_form(v)) for k, v in value.items())
    if isinstance(value, list):
        return tuple(self_form(v) for v in value)
    if hasattr(value, "thrift_spec"):
        return (type(value).__name__, *((k, self_form(v)) for k, v in sorted(vars(value).items())))
    return value


def generate(with_storage=False):
    """The modules (ttypes, AuroraAdmin), or with the types of storage, too: (ttypes, AuroraAdmin, ttypes)."""
    out = tempfile.mkdtemp(prefix="aurora-idl-")
    subprocess.run(["thrift", "-r", "--gen", "py", "-out", out, os.path.join(ROOT, "core/idl/storage.thrift")], check=True)
    sys.path.insert(0, out)
    modules = [importlib.import_module("gen.apache.aurora." + name)
               for name in ("api.ttypes", "api.AuroraAdmin", "storage.ttypes")]
    make_hashable(modules[0])
    make_hashable(modules[2])
    return tuple(modules if with_storage else modules[:2])


class HttpTransport(TTransport.TTransportBase):
    """One POST per flush; status and headers of the last answer are kept."""

    def __init__(self, url, content_type, accept):
        self.url, self.headers = url, {"Content-Type": content_type, "Accept": accept}
        self.out, self.answer = b"", None

    def isOpen(self):
        return True

    def write(self, data):
        self.out += data

    def flush(self):
        req = urllib.request.Request(self.url, data=self.out, headers=self.headers)
        self.out = b""
        with urllib.request.urlopen(req, timeout=60) as r:
            self.status, self.reply_type = r.status, r.headers["Content-Type"]
            self.answer = TTransport.TMemoryBuffer(r.read())

    def read(self, n):
        return self.answer.read(n)


def client(module, port, content_type, path="/api"):
    """A client of the service whose module generate() gave."""
    transport = HttpTransport(f"http://127.0.0.1:{port}{path}", content_type, content_type)
    return module.Client(PROTOCOLS[content_type].getProtocol(transport)), transport
