"""Writes build/gen/api.gen.{h,c}: C structs and descriptors (core/thrift.h says in which shape) of the IDL.

usage: gen.py IDL.xml OUT_DIR      IDL.xml is what `thrift --gen xml:merge core/idl/storage.thrift` wrote (the
                                   compiler's JSON form loses the names of enums).
"""
import re
import sys
import xml.etree.ElementTree as ET

NS = "{http://thrift.apache.org/xml/idl}"
# IDL type: (wire type, C type)
SCALARS = {"bool": ("TT_BOOL", "bool"), "i8": ("TT_I8", "int8_t"), "byte": ("TT_I8", "int8_t"), "i16": ("TT_I16", "int16_t"),
           "i32": ("TT_I32", "int32_t"), "i64": ("TT_I64", "int64_t"), "double": ("TT_DOUBLE", "double")}
CONTAINERS = {"list": "TT_LIST", "set": "TT_SET", "map": "TT_MAP"}


def snake(name):
    """mesosFetcherUris -> mesos_fetcher_uris, MesosFetcherURI -> mesos_fetcher_uri"""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def c_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Type:
    """The type of a field, element, key or value; `node` is the XML element that names it."""

    def __init__(self, idl, node):
        self.kind = node.get("type")
        self.target = node.get("type-id")
        self.elem = self.key = None
        if self.kind == "id":
            self.kind = "enum" if self.target in idl.enums else "struct"
            assert self.kind == "enum" or self.target in idl.structs, f"unknown type {self.target}"
        elif self.kind == "map":
            self.key, self.elem = Type(idl, node.find(NS + "keyType")), Type(idl, node.find(NS + "valueType"))
            assert self.key.kind == "string", "the JSON codecs know only maps by strings"
        elif self.kind in CONTAINERS:
            self.elem = Type(idl, node.find(NS + "elemType"))

    def c_type(self):
        """Of a value by itself, as in an array."""
        if self.kind == "enum" or self.kind == "struct":
            return f"{self.kind} api_{snake(self.target)}"
        if self.kind in ("string", "binary"):
            return "struct str"
        assert self.kind in SCALARS, f"containers of containers ({self.kind}) are not in the IDL, so not supported"
        return SCALARS[self.kind][1]

    def wire(self):
        fixed = {"enum": "TT_I32", "struct": "TT_STRUCT", "string": "TT_STRING", "binary": "TT_STRING"}
        return fixed.get(self.kind) or CONTAINERS.get(self.kind) or SCALARS[self.kind][0]

    def initializer(self):
        parts = [f".type = {self.wire()}"]
        if self.kind == "binary":
            parts.append(".is_binary = true")
        if self.kind == "struct":
            parts.append(f".st = &api_{snake(self.target)}_desc")
        if self.kind == "enum":
            parts.append(f".en = &api_{snake(self.target)}_enum")
        for member, t in (("elem", self.elem), ("key", self.key)):
            if t:
                parts.append(f".{member} = &(const struct ttypedesc){t.initializer()}")
        return "{ " + ", ".join(parts) + " }"


class Field:
    def __init__(self, idl, node):
        self.name, self.id, self.doc = node.get("name"), int(node.get("field-id")), node.get("doc", "")
        assert 0 < self.id < 1000, f"{self.name}: the codecs count on ids of up to three digits"
        self.c_name = snake(self.name)
        self.optional = node.get("required") == "optional"
        self.type = Type(idl, node)
        default = node.find(NS + "default")
        self.default = default[0] if default is not None else None

    def members(self):
        """The C declarations of this field."""
        t, n = self.type, self.c_name
        if t.kind == "struct":
            return [f"struct api_{snake(t.target)} *{n};"]
        if t.kind in ("string", "binary"):
            return [f"struct str {n};"]
        if t.kind == "map":
            return [f"bool has_{n};", f"uint32_t n_{n};", f"{t.key.c_type()} *{n}_keys;", f"{t.elem.c_type()} *{n};"]
        if t.kind in CONTAINERS:
            return [f"bool has_{n};", f"uint32_t n_{n};", f"{t.elem.c_type()} *{n};"]
        return [f"bool has_{n};", f"{t.c_type()} {n};"]

    def initializer(self, struct):
        parts = [f".name = {c_string(self.name)}, .doc = {c_string(self.doc)}, .id = {self.id}",
                 f".type = {self.type.initializer()}", f".off = offsetof({struct.c_type}, {self.c_name})"]
        if self.optional:
            parts.append(".optional = true")
        for member, prefix, suffix in (("has_off", "has_", ""), ("n_off", "n_", ""), ("keys_off", "", "_keys")):
            if any(m.endswith(f"{prefix}{self.c_name}{suffix};") and (prefix or suffix) for m in self.members()):
                parts.append(f".{member} = offsetof({struct.c_type}, {prefix}{self.c_name}{suffix})")
        if self.default is not None:
            parts.append(f".set_default = {struct.stem}_default_{self.c_name}")
        return "    { " + ", ".join(parts) + " },"


class Struct:
    def __init__(self, name, stem, doc, is_union, fields):
        self.name, self.stem, self.doc, self.is_union = name, stem, doc, is_union
        self.c_type = f"struct {stem}"
        self.fields = sorted(fields, key=lambda f: f.id)

    def declaration(self):
        members = [m for f in self.fields for m in f.members()] or ["char unused_;"]
        return "\n".join([f"{self.c_type} {{"] + ["    " + m for m in members] + ["};"])

    def definition(self, idl):
        out = [self.default_setter(idl, f) for f in self.fields if f.default is not None]
        if self.fields:
            out += [f"static const struct tfield {self.stem}_fields[] = {{"]
            out += [f.initializer(self) for f in self.fields] + ["};"]
        fields = f"{self.stem}_fields" if self.fields else "NULL"
        out.append(f"const struct tdesc {self.stem}_desc = {{ .name = {c_string(self.name)}, .doc = {c_string(self.doc)}, "
                   f".is_union = {str(self.is_union).lower()}, .size = sizeof({self.c_type}), "
                   f".n_fields = {len(self.fields)}, .fields = {fields} }};")
        return "\n".join(out)

    def default_setter(self, idl, field):
        lines = assign(idl, field, "o->" + field.c_name, field.default)
        return "\n".join([f"static bool {self.stem}_default_{field.c_name}(void *obj, struct arena *a)", "{",
                          f"    {self.c_type} *o = obj;"] + ["    " + line for line in lines] + ["    return true;", "}"])


def assign(idl, field, place, value):
    """C statements that put a constant of the IDL into `place`; only struct constants occur in the IDL."""
    assert field.type.kind == "struct" and value.tag == NS + "map", f"default of {field.name}: only structs are supported"
    struct = idl.structs[field.type.target]
    lines = [f"{place} = ARENA_NEW(a, {struct.c_type});", f"if (!{place}) return false;"]
    for entry in value:
        name = entry.find(f"{NS}key/{NS}string").text
        member = next(f for f in struct.fields if f.name == name)
        lines += assign(idl, member, f"{place}->{member.c_name}", entry.find(NS + "value")[0])
    return lines


class Idl:
    def __init__(self, root):
        documents = sorted(root.findall(NS + "document"), key=lambda d: d.get("name") != "api")
        self.enums = {e.get("name"): e for d in documents for e in d.findall(NS + "enum")}
        nodes = [n for d in documents for n in d if n.tag in (NS + "struct", NS + "union")]
        self.structs = {n.get("name"): None for n in nodes}
        assert len(self.structs) == len(nodes), "a name is used twice"
        for n in nodes:
            self.structs[n.get("name")] = Struct(n.get("name"), "api_" + snake(n.get("name")), n.get("doc", ""),
                                                 n.tag == NS + "union", [Field(self, f) for f in n])
        self.methods = []
        for service in (s for d in documents for s in d.findall(NS + "service")):
            for m in service:
                name = m.get("name")
                assert m.find(NS + "returns").get("type-id") == "Response", name
                args = [Field(self, f) for f in m.findall(NS + "arg")]
                self.methods.append((name, service.get("name"), m.get("doc", ""),
                                     Struct(name + "_args", f"api_{snake(name)}_args", "", False, args)))

    def all_structs(self):
        return list(self.structs.values()) + [args for _, _, _, args in self.methods]


def write_header(idl, out):
    out("/* Written by core/idl/gen.py from api.thrift and storage.thrift; core/thrift.h explains the shapes. */",
        "#ifndef AURORA_API_GEN_H", "#define AURORA_API_GEN_H", "", '#include "core/thrift.h"', "")
    for name, node in idl.enums.items():
        out(f"enum api_{snake(name)} {{")
        for m in node:
            out(f"    API_{snake(name).upper()}_{m.get('name')} = {m.get('value')},")
        out("};", f"extern const struct tenum api_{snake(name)}_enum;", "")
    for s in idl.all_structs():
        out(f"{s.c_type};")
    for s in idl.all_structs():
        out("", s.declaration(), f"extern const struct tdesc {s.stem}_desc;")
    out("", "/* All methods, base services first. */", "extern const struct tmethod api_methods[];",
        "extern const uint32_t api_n_methods;", "", "/* All structs and unions of the IDL (the methods' arguments are in api_methods). */",
        "extern const struct tdesc *const api_structs[];", "extern const uint32_t api_n_structs;", "", "#endif")


def write_source(idl, out):
    out("/* Written by core/idl/gen.py from api.thrift and storage.thrift. */", '#include "api.gen.h"')
    for name, node in idl.enums.items():
        stem = f"api_{snake(name)}"
        out("", f"static const char *const {stem}_names[] = {{ {', '.join(c_string(m.get('name')) for m in node)} }};",
            f"static const int32_t {stem}_values[] = {{ {', '.join(m.get('value') for m in node)} }};",
            f"const struct tenum {stem}_enum = {{ .name = {c_string(name)}, .names = {stem}_names, "
            f".values = {stem}_values, .n = {len(node)} }};")
    for s in idl.all_structs():
        out("", s.definition(idl))
    out("", "const struct tmethod api_methods[] = {")
    for name, service, doc, args in idl.methods:
        out(f"    {{ .name = {c_string(name)}, .service = {c_string(service)}, .doc = {c_string(doc)}, .args = &{args.stem}_desc }},")
    out("};", f"const uint32_t api_n_methods = {len(idl.methods)};", "", "const struct tdesc *const api_structs[] = {")
    for s in idl.structs.values():
        out(f"    &{s.stem}_desc,")
    out("};", f"const uint32_t api_n_structs = {len(idl.structs)};")


def main():
    idl = Idl(ET.parse(sys.argv[1]).getroot())
    for suffix, write in ((".c", write_source), (".h", write_header)):  # the header last: make looks at its time
        lines = []
        write(idl, lambda *more: lines.extend(more))
        with open(f"{sys.argv[2]}/api.gen{suffix}", "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")


main()
