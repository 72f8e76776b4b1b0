"""Writes the lists of docs/proofs.md, and checks that page against the code; run by ci/proofs.sh.

A test proves a promise if its documentation cites the promise's code (`/// S8: ...`). So the lists
are made from the sources, and the page adds in words what keeps each promise, and where.
"""

import glob
import re
import sys

PROMISES = "docs/promises.md"
PROOFS = "docs/proofs.md"
# Other pages whose words are checked.
PAGES = ["docs/architecture.md", "docs/decisions/*.md", "docs/costs.md"]
BEGIN = "<!-- proofs, by ci/proofs.sh -->"
END = "<!-- end of proofs -->"
WIDTH = 100

CODE = re.compile(r"\b([SLCZ][1-9][0-9]?)\b")
TEST = re.compile(r"(?:pub(?:\(.*?\))? )?(?:async )?(?:unsafe )?fn (\w+)")

# What runs a test, and where its sources are: the first pattern that matches a file decides.
KINDS = [
    ("loom", r"src/drain/models/loom\.rs"),
    ("shuttle", r"src/drain/models/shuttle\.rs"),
    ("unit", r"(?:src|crates/async-drain-os/src)/(.*)\.rs"),
    ("fork", r"crates/async-drain-os/tests/(.*)\.rs"),
    ("test", r"tests/core/(.*)\.rs"),
    ("server", r"tests/server/(.*)\.rs"),
    ("adapters", r"tests/adapters/(.*)\.rs"),
    ("examples", r"tests/examples/(.*)\.rs"),
    ("tide", r"(?:crates/)?async-drain-tide/(?:tests/server|src)/(.*)\.rs"),
    ("integrations", r"integrations/\w+/tests/(.*)\.rs"),
]
# Those that take out defences. The first names the kind of each test, the others have one; what
# begins with the module net is a unit test.
SCRIPTS = {"ci/broken.sh": None, "ci/server-broken.sh": "server", "ci/integrations-broken.sh": "tide"}

bad = 0


def complain(what, page=PROOFS):
    global bad
    bad += 1
    print(f"{page}: {what}")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def sources():
    """Each Rust file that may hold a test, with its kind and the module that names its tests."""
    for path in sorted(glob.glob("**/*.rs", recursive=True)):
        if "target/" in path:
            continue
        for kind, pattern in KINDS:
            match = re.fullmatch(pattern, path)
            if match:
                module = match.group(1) if match.groups() else ""
                yield path, kind, re.sub(r"/?(?:mod|main|lib)$", "", module).replace("/", "::")
                break


def tests():
    """(kind, name, the promises that its documentation cites) of each test and model."""
    for path, kind, module in sources():
        documentation, is_test, inner = [], False, ""
        for line in read(path).splitlines():
            text = line.strip()
            if not line.startswith((" ", "}")) and (nested := re.match(r"mod (\w+) \{", text)):
                inner = nested.group(1)
            elif line.startswith("}"):
                inner = ""
            if text.startswith("///"):
                documentation.append(text[3:])
                continue
            if text.startswith("#["):
                is_test = is_test or bool(re.match(r"#\[(?:\w+::)?test\b", text))
                continue
            if is_test and (match := TEST.match(text)):
                names = [module, "" if inner == "tests" else inner, match.group(1)]
                cited = set(CODE.findall(" ".join(documentation)))
                yield kind, "::".join(filter(None, names)), cited
            if text:
                documentation, is_test = [], False


def variants():
    """{(kind, test): variants that it catches} of the scripts that take defences out."""
    caught = {}
    for script, only in SCRIPTS.items():
        text = read(script).replace("\\\n", " ")
        for name, catchers in re.findall(r'^broken ([\w-]+)\s+("[^"]*"|\S+)', text, re.MULTILINE):
            for catcher in catchers.strip('"').split():
                kind, test = (only, catcher) if only else catcher.split(":", 1)
                if kind == "server" and test.startswith(("net::", "hyper::")):
                    kind, test = "unit", test.replace("::tests::", "::")
                caught.setdefault((kind, test), []).append(name)
    return caught


def listed(kind, names):
    """`- kind: names`, wrapped."""
    lines, line = [], f"- {kind}:"
    for index, name in enumerate(names):
        word = f" `{name}`" + ("," if index + 1 < len(names) else "")
        if len(line) + len(word) > WIDTH:
            lines.append(line)
            line = " " + word
        else:
            line += word
    return [*lines, line]


def proofs(code, found, caught):
    """The lines between the markers below the heading of `code`."""
    lines, broken = [], []
    for kind, _ in KINDS:
        names = sorted(name for k, name, cited in found if k == kind and code in cited)
        if names:
            lines += listed(kind, names)
            broken += [variant for name in names for variant in caught.get((kind, name), [])]
    if broken:
        lines += listed("broken", sorted(set(broken)))
    return lines


def main():
    found, caught = list(tests()), variants()
    text = read(PROOFS)

    def section(match):
        head, code = match.group(1), match.group(2)
        lines = proofs(code, found, caught)
        if not lines and "Open:" not in head:
            complain(f"nothing proves {code}, and nothing says that this is open")
        return head + "\n".join([BEGIN, "", *lines, "", END])

    pattern = rf"(^### ([SLCZ]\d+)\n(?:(?!^### ).*\n)*?){BEGIN}\n[\s\S]*?{END}"
    fresh = re.sub(pattern, section, text, flags=re.MULTILINE)
    if "--write" in sys.argv[1:]:
        with open(PROOFS, "w", encoding="utf-8") as file:
            file.write(fresh)
    elif fresh != text:
        complain("its lists are not those of the sources: run ci/proofs.sh --write")

    # Each promise has proofs, and nothing else is cited.
    promised = re.findall(r"^\| \[(\w+)\]", read(PROMISES), re.MULTILINE)
    proven = re.findall(r"^### ([SLCZ]\d+)$", fresh, re.MULTILINE)
    if promised != proven:
        complain(f"its sections are not the promises of {PROMISES}, in their order")
    for kind, name, cited in found:
        for code in cited - set(promised):
            complain(f"{name} cites {code}, which is not a promise")

    # Each model proves something, and each variant is caught by a test that proves something.
    named = set(re.findall(r"`([\w:]+)`", fresh))
    for kind, name, _ in found:
        if kind in ("loom", "shuttle") and name not in named:
            complain(f"the model {name} proves nothing")
    existing = {(kind, name) for kind, name, _ in found}
    for (kind, name), names in caught.items():
        if (kind, name) not in existing and not is_macro(kind, name):
            complain(f"there is no {kind} {name}, which is to catch {', '.join(names)}")

    # What the words name exists: files, and names in the code.
    code = "\n".join(read(path) for path, _, _ in sources())
    pages = {PROOFS: fresh} | {page: read(page) for pattern in PAGES for page in glob.glob(pattern)}
    for page, text in pages.items():
        words = re.sub(rf"{BEGIN}[\s\S]*?{END}", "", text)
        for path in set(re.findall(r"`([\w./-]+/[\w-]+\.(?:rs|sh|md|txt|jsonl))`", words)):
            if not glob.glob(path):
                complain(f"there is no file {path}", page)
        for target in set(re.findall(r"^- fuzz: `(\w+)`", words, re.MULTILINE)):
            if not glob.glob(f"fuzz/targets/{target}.rs"):
                complain(f"there is no fuzz target {target}", page)
        names = r"(?:\w+::)+\w+|[a-z]+_\w+|[A-Z]\w+|[a-z]\w+\(\)" if page == PROOFS else r"(?:\w+::)+\w+"
        for name in set(re.findall(rf"`({names})`", words)):
            owner, _, last = name.removesuffix("()").rpartition("::")
            if not re.search(rf"\b{last}\b", code):
                complain(f"nothing in the code is called {name}", page)
            elif owner and not re.search(rf"\b{owner.rpartition('::')[2]}\b", code):
                complain(f"nothing in the code is called {owner}", page)

    if not bad:
        count = sum(1 for _, _, cited in found if cited)
        print(f"{PROOFS}: {len(proven)} promises, {count} tests and models that cite them; all that it names exists")
    sys.exit(bad > 0)


def is_macro(kind, name):
    """Whether a test that no attribute marks exists, such as one of proptest's."""
    last = name.rpartition("::")[2]
    return any(k == kind and re.search(rf"fn {last}\(", read(path)) for path, k, _ in sources())


main()
