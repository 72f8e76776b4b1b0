#!/usr/bin/env python3
"""Lists the public API of a crate, from rustdoc's JSON.

    api.py FILE.json

One line for each item (type, trait, function, constant, macro), with its public fields, variants,
methods and trait implementations below it. The last lines count the items: what the contract
limits. ci/api.sh compares the list with the one in the repository.
"""
import json
import sys

data = json.load(open(sys.argv[1]))
index, paths = data["index"], data["paths"]
crate = index[str(data["root"])]["name"]


def item(id_):
    return index.get(str(id_))


def generic_args(args):
    if not args:
        return ""
    if "parenthesized" in args:
        inner = args["parenthesized"]
        out = f"({', '.join(map(ty, inner['inputs']))})"
        return out + (f" -> {ty(inner['output'])}" if inner["output"] else "")
    if "angle_bracketed" not in args:
        return ""
    parts = []
    for arg in args["angle_bracketed"]["args"]:
        if "lifetime" in arg:
            parts.append(arg["lifetime"])
        elif "type" in arg:
            parts.append(ty(arg["type"]))
        elif "const" in arg:
            parts.append(arg["const"]["expr"])
        else:
            parts.append("_")
    for constraint in args["angle_bracketed"]["constraints"]:
        binding = constraint["binding"]
        if "equality" in binding:
            term = binding["equality"]
            value = ty(term["type"]) if "type" in term else term["constant"]["expr"]
            parts.append(f"{constraint['name']} = {value}")
        else:
            parts.append(f"{constraint['name']}: {bounds(binding['constraint'])}")
    return f"<{', '.join(parts)}>" if parts else ""


def path(p):
    return p["path"].split("::")[-1] + generic_args(p["args"])


def bounds(list_):
    out = []
    for bound in list_:
        if "trait_bound" in bound:
            b = bound["trait_bound"]
            sign = {"none": "", "maybe": "?", "maybe_const": "~const "}[b["modifier"]]
            out.append(sign + path(b["trait"]))
        elif "outlives" in bound:
            out.append(bound["outlives"])
        else:
            out.append("use<..>")
    return " + ".join(out)


def ty(t):
    kind, value = next(iter(t.items()))
    if kind == "resolved_path":
        return path(value)
    if kind in ("generic", "primitive"):
        return value if value != "never" else "!"
    if kind == "tuple":
        return f"({', '.join(map(ty, value))}{',' if len(value) == 1 else ''})"
    if kind == "slice":
        return f"[{ty(value)}]"
    if kind == "array":
        return f"[{ty(value['type'])}; {value['len']}]"
    if kind == "impl_trait":
        return f"impl {bounds(value)}"
    if kind == "dyn_trait":
        traits = " + ".join(path(tr["trait"]) for tr in value["traits"])
        return f"dyn {traits}" + (f" + {value['lifetime']}" if value["lifetime"] else "")
    if kind == "borrowed_ref":
        life = f"{value['lifetime']} " if value["lifetime"] else ""
        return f"&{life}{'mut ' if value['is_mutable'] else ''}{ty(value['type'])}"
    if kind == "qualified_path":
        tr = value["trait"]
        self_ = ty(value["self_type"])
        if tr and tr["path"]:
            return f"<{self_} as {path(tr)}>::{value['name']}"
        return f"{self_}::{value['name']}"
    if kind == "function_pointer":
        return "fn" + signature(value["sig"])
    if kind == "raw_pointer":
        return f"*{'mut' if value['is_mutable'] else 'const'} {ty(value['type'])}"
    return kind


def signature(sig):
    args = []
    for name, t in sig["inputs"]:
        text = ty(t)
        if name == "self":
            text = {"Self": "self", "&Self": "&self", "&mut Self": "&mut self"}.get(text, f"self: {text}")
            args.append(text)
        else:
            args.append(text)
    out = f"({', '.join(args)})"
    return out + (f" -> {ty(sig['output'])}" if sig["output"] else "")


def generics(g):
    params = []
    for p in g["params"]:
        kind, value = next(iter(p["kind"].items()))
        if kind == "lifetime":
            params.append(p["name"])
        elif kind == "const":
            params.append(f"const {p['name']}: {ty(value['type'])}")
        elif not value["is_synthetic"]:
            b = bounds(value["bounds"])
            default = f" = {ty(value['default'])}" if value.get("default") else ""
            params.append(p["name"] + (f": {b}" if b else "") + default)
    where = []
    for w in g["where_predicates"]:
        if "bound_predicate" in w:
            b = w["bound_predicate"]
            where.append(f"{ty(b['type'])}: {bounds(b['bounds'])}")
    return (f"<{', '.join(params)}>" if params else "", f" where {', '.join(where)}" if where else "")


def function(name, f):
    params, where = generics(f["generics"])
    head = "async fn" if f["header"]["is_async"] else "const fn" if f["header"]["is_const"] else "fn"
    return f"{head} {name}{params}{signature(f['sig'])}{where}"


def implementations(ids):
    methods, traits = [], []
    for id_ in ids:
        i = item(id_)
        if i is None:
            continue
        im = i["inner"]["impl"]
        if im["is_synthetic"] or im["blanket_impl"]:
            continue
        params, where = generics(im["generics"])
        if im["trait"] is None:
            for m in map(item, im["items"]):
                if m and m["visibility"] == "public":
                    kind, value = next(iter(m["inner"].items()))
                    text = function(m["name"], value) if kind == "function" else f"{kind} {m['name']}"
                    methods.append(text)
        else:
            # What the compiler and pin-project-lite derive says nothing to a user.
            if im["trait"]["path"] != "StructuralPartialEq" and "__pin" not in params:
                traits.append(f"impl{params} {path(im['trait'])} for {ty(im['for'])}{where}")
    return sorted(methods) + sorted(set(traits))


count = {}
lines = []


def emit(module, name, i):
    kind, value = next(iter(i["inner"].items()))
    where = "::".join([*module, name])
    count[module] = count.get(module, 0) + 1
    below = []
    text = f"{kind} {where}"
    if kind == "function":
        text = f"{where}: {function(name, value)}"
    elif kind == "struct":
        params, bound = generics(value["generics"])
        text = f"struct {where}{params}{bound}"
        plain = value["kind"].get("plain") if isinstance(value["kind"], dict) else None
        for f in map(item, (plain or {}).get("fields", [])):
            if f and f["visibility"] == "public":
                below.append(f"field {f['name']}: {ty(f['inner']['struct_field'])}")
        below += implementations(value["impls"])
    elif kind == "enum":
        params, bound = generics(value["generics"])
        text = f"enum {where}{params}{bound}"
        below += [f"variant {item(v)['name']}" for v in value["variants"]]
        below += implementations(value["impls"])
    elif kind == "trait":
        params, bound = generics(value["generics"])
        over = bounds(value["bounds"])
        text = f"trait {where}{params}{': ' + over if over else ''}{bound}"
        for m in map(item, value["items"]):
            k, v = next(iter(m["inner"].items()))
            below.append(function(m["name"], v) if k == "function" else f"type {m['name']}: {bounds(v['bounds'])}" if k == "assoc_type" else f"{k} {m['name']}")
        for im in map(item, value["implementations"]):
            if im and not im["inner"]["impl"]["is_synthetic"]:
                inner = im["inner"]["impl"]
                p, w = generics(inner["generics"])
                below.append(f"impl{p} for {ty(inner['for'])}{w}")
    flags = "".join(f" #[{a}]" for a in ("non_exhaustive",) if any(a in str(x) for x in i["attrs"]))
    lines.append((where, text + flags, sorted(below) if kind == "trait" else below))


def walk(module, id_):
    for child in item(id_)["inner"]["module"]["items"]:
        i = item(child)
        if i is None or i["visibility"] != "public":
            continue
        if "use" in i["inner"]:
            use = i["inner"]["use"]
            target = item(use["id"]) if use["id"] is not None else None
            if use["is_glob"] and target:
                walk(module, use["id"])
            elif target and "module" in target["inner"]:
                walk((*module, use["name"]), use["id"])
            elif target:
                emit(module, use["name"], target)
            else:
                count[module] = count.get(module, 0) + 1
                lines.append(("::".join([*module, use["name"]]), f"use {use['source']} as {'::'.join([*module, use['name']])}", []))
        elif "module" in i["inner"]:
            walk((*module, i["name"]), child)
        else:
            emit(module, i["name"], i)


walk((crate,), data["root"])
for _, text, below in sorted(lines):
    print(text)
    for line in below:
        print(f"    {line}")
print()
for module in sorted(count):
    print(f"{count[module]:3} in {'::'.join(module)}")
print(f"{sum(count.values()):3} items")
