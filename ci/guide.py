#!/usr/bin/env python3
"""Checks that each page of docs/guide is in its index and in src/guide/mod.rs, and that each link to
a file leads to one, both in the repository and in the documentation, where src/guide/links.md says
what it leads to. It takes no time."""

import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
guide = root / "docs/guide"
modules = (root / "src/guide/mod.rs").read_text()
definition = re.compile(r"^\[([^\]]+)\]: +(\S+)$", re.M)
links = dict(definition.findall((root / "src/guide/links.md").read_text()))
blob = "https://github.com/async-drain/async-drain/blob/main/"
errors = []

index = (guide / "README.md").read_text()
for page in sorted(guide.glob("*.md")):
    text = page.read_text()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    name = page.relative_to(root)

    def error(what):
        errors.append(f"{name}: {what}")

    for target in re.findall(r"\]\((?!https?:|#)([^)]*)\)", prose):
        error(f"write the link to {target} as [text], with [text]: {target} at the end of the page")
    for label, target in definition.findall(prose):
        file = (page.parent / target).resolve()
        if not file.exists():
            error(f"{target} does not exist")
            continue
        if page.name == "README.md":
            continue
        want = f"super::{file.stem.replace('-', '_')}" if file.parent == guide else f"{blob}{file.relative_to(root)}"
        if links.get(label) != want:
            error(f"src/guide/links.md needs [{label}]: {want}")
    used = {" ".join(label.split()) for label in re.findall(r"(?<!!)\[([^\]\[`]+)\](?![(:\[])", re.sub(r"`[^`]*`", "", prose))}
    for label in sorted(used - {label for label, _ in definition.findall(prose)}):
        error(f"[{label}] leads nowhere")
    if page.name != "README.md":
        if f"]: {page.name}" not in index:
            error("docs/guide/README.md has no link to it")
        if f'docs/guide/{page.name}"' not in modules:
            error("src/guide/mod.rs doesn't include it")

print("\n".join(errors))
sys.exit(bool(errors))
