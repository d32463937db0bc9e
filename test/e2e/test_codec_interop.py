"""Our codecs against python3-thrift, which shares no code with them: every struct and every method's arguments, in both
directions, with random values. Replay: SEED=n python3 test/e2e/test_codec_interop.py"""
import importlib
import json
import os
import random
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ET

from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.Thrift import TApplicationException, TType
from thrift.transport.TTransport import TMemoryBuffer

BUILD = os.environ.get("BUILD", "build/asan")
ROUNDS = 10
PROTOCOLS = {"tbinary": TBinaryProtocol, "tjson": TJSONProtocol}
SEED = int(os.environ.get("SEED", "20240229"))


def generate():
    """The modules that thrift's own Python generator makes of our IDL, and the names of its unions."""
    out = os.path.join(BUILD, "gen-py")
    os.makedirs(out, exist_ok=True)
    subprocess.run(["thrift", "-r", "--gen", "py", "-out", out, "core/idl/storage.thrift"], check=True)
    subprocess.run(["thrift", "-r", "--gen", "xml:merge", "-out", out, "core/idl/storage.thrift"], check=True)
    sys.path.insert(0, out)
    unions = {e.get("name") for e in ET.parse(os.path.join(out, "storage.xml")).iter() if e.tag.endswith("}union")}
    return unions


UNIONS = generate()
api, storage = (importlib.import_module(f"gen.apache.aurora.{m}.ttypes") for m in ("api", "storage"))
services = [importlib.import_module(f"gen.apache.aurora.api.{m}")
            for m in ("ReadOnlyScheduler", "AuroraSchedulerManager", "AuroraAdmin")]


def all_structs():
    for module in (api, storage):
        for name, cls in sorted(vars(module).items()):
            if isinstance(cls, type) and hasattr(cls, "thrift_spec") and cls.__module__ == module.__name__:
                yield name, cls
    for module in services:
        for name, cls in sorted(vars(module).items()):
            if name.endswith("_args"):
                yield name, cls


STRUCTS = dict(all_structs())
for _cls in STRUCTS.values():
    _cls.__hash__ = lambda self: 0  # generated structs compare but do not hash, so no set could hold them


class Maker:
    """Random values by the generated thrift_spec."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def text(self):
        parts = ["a", "Zz9", " ", '"', "\\", "/", "\b\f\n\r\t", "\x01\x1f", "\x7f", "\u00e4", "\u20ac", "\U0001f600", "<&>='", "r/e-n_0.1"]
        return "".join(self.rng.choice(parts) for _ in range(self.rng.randrange(5)))

    def integer(self, bits):
        top = 1 << (bits - 1)
        return self.rng.choice([0, 1, -1, top - 1, -top, self.rng.randrange(-top, top), self.rng.randrange(100)])

    def double(self):
        r = self.rng
        return r.choice([0.0, 1.0, 0.1, 1e-5, 1e7, 1e21, r.random(), r.random() * 10 ** r.randrange(-300, 300), float(r.randrange(1 << 60))])

    def value(self, ttype, args):
        if ttype == TType.BOOL:
            return self.rng.random() < 0.5
        if ttype in (TType.I32, TType.I64):
            return self.integer(32 if ttype == TType.I32 else 64)
        if ttype == TType.DOUBLE:
            return self.double()
        if ttype == TType.STRING:
            return self.rng.randbytes(self.rng.randrange(8)) if args == "BINARY" else self.text()
        if ttype == TType.STRUCT:
            return self.struct(args[0])
        n = self.rng.randrange(3)
        if ttype == TType.LIST:
            return [self.value(args[0], args[1]) for _ in range(n)]
        if ttype == TType.SET:
            return {self.value(args[0], args[1]) for _ in range(n)}
        assert ttype == TType.MAP
        return {self.value(args[0], args[1]): self.value(args[2], args[3]) for _ in range(n)}

    def struct(self, cls):
        spec = [f for f in cls.thrift_spec if f]
        if cls.__name__ in UNIONS:
            spec = [self.rng.choice(spec)]
        obj = cls()
        for _, ttype, name, args, default in spec:
            if default is not None or cls.__name__ in UNIONS or self.rng.random() < 0.85:
                setattr(obj, name, self.value(ttype, args))
        return obj


def encode(form, obj):
    transport = TMemoryBuffer()
    obj.write(PROTOCOLS[form](transport))
    return transport.getvalue()


def decode(form, cls, data):
    obj = cls()
    transport = TMemoryBuffer(data)
    obj.read(PROTOCOLS[form](transport))
    assert not transport.read(1), "bytes are left"
    return obj


class Tool:
    def __init__(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "test/tool_codec")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, request, data):
        self.process.stdin.write(f"{request} {len(data)}\n".encode() + data)
        self.process.stdin.flush()
        word, rest = self.process.stdout.readline().decode().rstrip("\n").split(" ", 1)
        if word != "ok":
            raise ValueError(rest)
        return self.process.stdout.read(int(rest))

    def convert(self, source, target, name, data):
        return self.ask(f"convert {source} {target} {name}", data)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(30) == 0


class CodecInterop(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"SEED={SEED}")
        cls.tool = Tool()

    @classmethod
    def tearDownClass(cls):
        cls.tool.close()

    def each_value(self):
        maker = Maker(SEED)
        for name, cls in STRUCTS.items():
            for _ in range(ROUNDS):
                yield name, cls, maker.struct(cls)

    def test_python_writes_and_we_read(self):
        for name, cls, obj in self.each_value():
            for source in PROTOCOLS:
                ours = self.tool.convert(source, "tbinary", name, encode(source, obj))
                self.assertEqual(decode("tbinary", cls, ours), obj, name)

    def test_we_write_and_python_reads(self):
        for name, cls, obj in self.each_value():
            for target in PROTOCOLS:
                ours = self.tool.convert("tbinary", target, name, encode("tbinary", obj))
                self.assertEqual(decode(target, cls, ours), obj, name)

    def test_bytes_are_the_same_where_order_is_fixed(self):
        compared = 0
        for name, _, obj in self.each_value():
            data = encode("tbinary", obj)
            if any(isinstance(v, set) and len(v) > 1 for v in vars(obj).values()):
                continue
            compared += self.tool.convert("tbinary", "tbinary", name, data) == data
        self.assertGreater(compared, len(STRUCTS) * ROUNDS // 2)

    def test_plain_json_keeps_everything(self):
        for name, cls, obj in self.each_value():
            text = self.tool.convert("tbinary", "json", name, encode("tbinary", obj))
            json.loads(text)  # an independent reader takes it
            spaced = json.dumps(json.loads(text), indent=1, ensure_ascii=True).encode()
            for form in (text, spaced):
                ours = self.tool.convert("json", "tbinary", name, form)
                self.assertEqual(decode("tbinary", cls, ours), obj, name)

    def test_gson_form_shows_primitives(self):
        text = self.tool.convert("tbinary", "gson", "TaskConfig", encode("tbinary", api.TaskConfig(contactEmail="<a>")))
        self.assertIn(b'"contactEmail":"\\u003ca\\u003e"', text)
        self.assertEqual(json.loads(text), {"contactEmail": "<a>", "isService": False, "priority": 0, "maxTaskFailures": 0,
                                            "production": False, "container": {"mesos": {}}})

    def test_defaults_are_applied(self):
        for source in PROTOCOLS:
            obj = api.TaskConfig(container=None)
            ours = self.tool.convert(source, "tbinary", "TaskConfig", encode(source, obj))
            self.assertEqual(decode("tbinary", api.TaskConfig, ours).container, api.Container(mesos=api.MesosContainer()))

    def test_calls_and_replies(self):
        maker = Maker(SEED)
        tested = 0
        for module in services:
            for name, cls in vars(module).items():
                if not name.endswith("_args"):
                    continue
                tested += 1
                method, args = name[:-len("_args")], maker.struct(cls)
                values = {f[2]: getattr(args, f[2]) for f in cls.thrift_spec if f}
                for form, protocol in PROTOCOLS.items():
                    sent, received = TMemoryBuffer(), TMemoryBuffer()
                    client = services[2].Client(protocol(received), protocol(sent))
                    getattr(client, "send_" + method)(**values)
                    received._buffer.write(self.tool.ask(f"call {form}", sent.getvalue()))
                    received._buffer.seek(0)
                    response = getattr(client, "recv_" + method)()
                    self.assertEqual(response.responseCode, api.ResponseCode.OK)
                    back = self.tool.convert("json", "tbinary", name, response.details[0].message.encode())
                    self.assertEqual(decode("tbinary", cls, back), args, name)
        self.assertEqual(tested, 45)

    def test_unknown_method(self):
        for form, protocol in PROTOCOLS.items():
            sent, received = TMemoryBuffer(), TMemoryBuffer()
            sender = protocol(sent)
            sender.writeMessageBegin('no"such', 1, 5)
            services[0].getRoleSummary_args().write(sender)
            sender.writeMessageEnd()
            received._buffer.write(self.tool.ask(f"call {form}", sent.getvalue()))
            received._buffer.seek(0)
            reader = protocol(received)
            self.assertEqual(reader.readMessageBegin(), ('no"such', 3, 5))
            error = TApplicationException()
            error.read(reader)
            reader.readMessageEnd()
            self.assertEqual((error.type, error.message), (TApplicationException.UNKNOWN_METHOD, "Invalid method name"))


if __name__ == "__main__":
    unittest.main()
