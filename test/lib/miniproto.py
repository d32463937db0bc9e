"""Protobuf without the library: reads our .proto files and turns dicts into bytes and back. An independent peer for the
tests; enums are names, bytes are bytes, unknown fields are left out."""
import re
import struct

SCALARS = {"double", "float", "int32", "int64", "uint32", "uint64", "bool", "string", "bytes"}


class Schema:
    def __init__(self, *paths):
        self.messages, self.enums = {}, {}
        for path in paths:
            self._parse(path)

    def _parse(self, path):
        text = re.sub(r"//[^\n]*|/\*.*?\*/", "", open(path, encoding="utf-8").read(), flags=re.S)
        scope = [re.search(r"package ([\w.]+);", text).group(1)]
        token = re.compile(r"(message|enum) (\w+) *\{|\}|"
                           r"(required|optional|repeated) +([\w.]+) +(\w+) *= *(\d+)[^;]*;|(\w+) *= *(-?\d+) *;")
        for m in token.finditer(text):
            if m.group(1):
                scope.append(m.group(2))
                (self.messages if m.group(1) == "message" else self.enums)[".".join(scope)] = {}
            elif m.group(0) == "}":
                scope.pop()
            elif m.group(3):
                self.messages[".".join(scope)][int(m.group(6))] = (m.group(5), m.group(4), m.group(3), ".".join(scope))
            elif len(scope) > 1 and ".".join(scope) in self.enums:
                self.enums[".".join(scope)][m.group(7)] = int(m.group(8))

    def _resolve(self, kind, scope):
        if kind in SCALARS:
            return kind
        parts = scope.split(".")
        for n in range(len(parts), -1, -1):
            name = ".".join(parts[:n] + [kind])
            if name in self.messages or name in self.enums:
                return name
        raise KeyError(kind)

    def encode(self, name, value):
        out, left = b"", dict(value)
        for number, (field, kind, label, scope) in sorted(self.messages[name].items()):
            if field not in left:
                continue
            v, kind = left.pop(field), self._resolve(kind, scope)
            for one in v if label == "repeated" else [v]:
                out += self._encode_field(number, kind, one)
        assert not left, f"{name} has no {left}"
        return out

    def _encode_field(self, number, kind, v):
        if kind == "double":
            return varint(number << 3 | 1) + struct.pack("<d", v)
        if kind in self.enums:
            return varint(number << 3) + varint(self.enums[kind][v] if isinstance(v, str) else v)
        if kind in ("string", "bytes") or kind in self.messages:
            body = v.encode() if kind == "string" else v if kind == "bytes" else self.encode(kind, v)
            return varint(number << 3 | 2) + varint(len(body)) + body
        return varint(number << 3) + varint(int(v) & (1 << 64) - 1)

    def decode(self, name, data):
        out, at, fields = {}, 0, self.messages[name]
        while at < len(data):
            key, at = read_varint(data, at)
            wire = key & 7
            if wire == 0:
                raw, at = read_varint(data, at)
            elif wire == 1:
                raw, at = data[at:at + 8], at + 8
            elif wire == 2:
                n, at = read_varint(data, at)
                raw, at = data[at:at + n], at + n
            else:
                raw, at = data[at:at + 4], at + 4
            if key >> 3 in fields:
                field, kind, label, scope = fields[key >> 3]
                v = self._decode_value(self._resolve(kind, scope), raw)
                if label == "repeated":
                    out.setdefault(field, []).append(v)
                else:
                    out[field] = v
        return out

    def _decode_value(self, kind, raw):
        if kind == "double":
            return struct.unpack("<d", raw)[0]
        if kind == "string":
            return raw.decode("utf-8", "replace")
        if kind == "bytes":
            return raw
        if kind == "bool":
            return bool(raw)
        if kind in self.enums:
            return next((k for k, n in self.enums[kind].items() if n == raw), raw)
        if kind in self.messages:
            return self.decode(kind, raw)
        return raw - (1 << 64) if kind in ("int32", "int64") and raw >> 63 else raw


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def read_varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        n, shift, at = n | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return n, at
