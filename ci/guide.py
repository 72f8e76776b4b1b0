#!/usr/bin/env python3
"""Checks the links of docs/guide, and that src/guide has each page.

In the repository a page's links lead to files; in the documentation, where rustdoc can't follow
these, src/guide/links.md says what they lead to. `ci/guide.py --write` brings src/guide up to date,
and moves links to files to the end of their page. What it can't do is printed."""

import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
guide = root / "docs/guide"
blob = "https://github.com/async-drain/async-drain/blob/main/"
definition = re.compile(r"^\[([^\]]+)\]: +(\S+)$", re.M)
inline = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)")
write = sys.argv[1:] == ["--write"]
errors = []


def update(path, text):
    """Writes a file that is out of date, or says that it is."""
    if path.read_text() != text:
        if write:
            path.write_text(text)
        else:
            errors.append(f"{path.relative_to(root)} is out of date: run ci/guide.py --write")


def in_documentation(file):
    """Returns what a link to a file of the repository leads to in the documentation."""
    if file.parent == guide and file.name != "README.md":
        return f"crate::guide::{file.stem.replace('-', '_')}"
    return f"{blob}{file.relative_to(root)}"


def referring(text):
    """Returns a page whose links to files stand at its end."""
    found = {" ".join(label.split()): target for label, target in inline.findall(text)}
    known = {label for label, _ in definition.findall(text)}
    lines = [f"[{label}]: {target}" for label, target in found.items() if label not in known]
    if not lines:
        return text
    gap = "\n" if definition.search(text.rstrip("\n").rsplit("\n", 1)[-1]) else "\n\n"
    return inline.sub(r"[\1]", text).rstrip("\n") + gap + "\n".join(lines) + "\n"


pages = sorted(page for page in guide.glob("*.md") if page.name != "README.md")
index = (guide / "README.md").read_text()
links = {}
for page in pages:
    update(page, referring(page.read_text()))
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    name = page.relative_to(root)
    own = dict(definition.findall(text))
    for label, target in own.items():
        file = (page.parent / target).resolve()
        if not file.exists():
            errors.append(f"{name}: {target} does not exist")
        elif links.setdefault(label, in_documentation(file)) != in_documentation(file):
            errors.append(f"{name}: [{label}] leads elsewhere in another page: choose another text")
    prose = re.sub(r"`[^`]*`", "", definition.sub("", text))
    used = re.findall(r"\[([^\]\[]+)\](?![(\[])", prose)
    for label in sorted({" ".join(label.split()) for label in used} - own.keys()):
        errors.append(f"{name}: [{label}] leads nowhere")
    if f"]: {page.name}" not in index:
        errors.append(f"docs/guide/README.md has no link to {page.name}")

update(root / "src/guide/links.md", "".join(f"[{label}]: {to}\n" for label, to in sorted(links.items())) + "\n")
head = (root / "src/guide/mod.rs").read_text().split("\n\n")[0]
modules = "".join(
    f'\n#[doc = include_str!("links.md")]\n#[doc = include_str!("../../docs/guide/{page.name}")]\n'
    f"pub mod {page.stem.replace('-', '_')} {{}}\n"
    for page in pages
)
update(root / "src/guide/mod.rs", f"{head}\n{modules}")

print("\n".join(errors), end="\n" if errors else "")
sys.exit(bool(errors))
