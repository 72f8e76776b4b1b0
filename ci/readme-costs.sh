#!/usr/bin/env bash
# Writes tables from recorded figures: all targets of docs/charts/figures.jsonl into docs/costs.md,
# a few lines of these and some of docs/charts/scoreboard.json into README.md, each between its
# markers. With --check it only says whether they are fresh.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 - "$@" <<'END'
import json, re, sys, textwrap

FIGURES = "docs/charts/figures.jsonl"
with open(FIGURES, encoding="utf-8") as file:
    lines = [json.loads(line) for line in file]
figures = {(l["bench"], l["case"], l["who"]): l["value"] for l in lines if "who" in l}
OURS = "async-drain"
GRACEFUL = "hyper-util's graceful"


def shown(value):
    if value >= 100 or (value > 1 and value == int(value)):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def interval(case):
    """The median's 95 % interval over the rounds, if it was measured."""
    ends = [figures.get(("http", case, f"{OURS}, at {end} (95 %)")) for end in ("least", "most")]
    return f" ({shown(ends[0])} to {shown(ends[1])})" if None not in ends else ""


def origin():
    """When and where: the days of each machine."""
    days = {}
    for date, machine in sorted({(l["date"], l["machine"]) for l in lines if "date" in l}):
        days.setdefault(machine, []).append(date)
    return "; ".join(f"{' and '.join(dates)}, on {machine}" for machine, dates in days.items())


def targets():
    yield "| what | measured | target | |"
    yield "|:--|--:|--:|:--|"
    for line in lines:
        if "target" not in line:
            continue
        what, value = line["target"], line["value"]
        measured = "–" if value is None else shown(value)
        if "interval" in line:
            measured += f" ({' to '.join(map(shown, line['interval']))})"
        # An interval on both sides of the limit shows neither.
        verdict = {True: "met", False: "**missed**", None: "not shown"}[line["met"]]
        if value is None:
            verdict = "not measured"
        yield f"| {line['bench']}: {what} | {measured} | {line['bound']} {line['limit']} | {verdict} |"


def figure(bench, case, who=OURS):
    return shown(figures[bench, case, who])


def item(text):
    return textwrap.fill(f"- {text}", 100, subsequent_indent="  ")


def all_cores(case):
    """The case of the bench `guard` with the most threads."""
    return max((c for b, c, _ in figures if b == "guard" and c.startswith(f"{case} ×")),
               key=lambda c: int(c.split("×")[1]))


def readme():
    alone = "a child ×1"
    shared = all_cores("make")
    event = lambda who: figure("event", "99 %", who)
    yield f"Measured {origin()}."
    yield ""
    yield "| what | async-drain | compared with |"
    yield "|:--|--:|:--|"
    yield (f"| a guard, created and dropped | {figure('guard', 'make')} × two atomic instructions |"
           f" swansong {figure('guard', 'make', 'swansong')},"
           f" TaskTracker {figure('guard', 'make', 'TaskTracker')} |")
    yield (f"| the same on all cores, sharing a drain | {figure('guard', shared)} × |"
           f" swansong {figure('guard', shared, 'swansong')},"
           f" TaskTracker {figure('guard', shared, 'TaskTracker')} |")
    yield (f"| the same, tracked: with its place and age | {figure('guard', 'tracked')} × |"
           f" swansong's report {figure('guard', 'tracked', 'swansong')} |")
    yield (f"| a wait, polled once and dropped | {figure('latch', 'first poll, drop')} × |"
           f" swansong {figure('latch', 'first poll, drop', 'swansong')},"
           f" event-listener {figure('latch', 'first poll, drop', 'event-listener')} |")
    yield (f"| HTTP/1 requests per second | {figure('http', 'requests/s')}{interval('requests/s')} × |"
           f" the same hyper server without the drain |")
    yield (f"| memory of an idle connection | {figure('idle', 'memory')} × |"
           f" the same; hyper-util's graceful {figure('idle', 'memory', GRACEFUL)} |")
    yield ""
    yield "Where it is not the fastest:"
    yield ""
    yield item(f"A guard, on this processor: {figure('guard', 'make')} times two atomic instructions"
               " (0.97 to 1.23 on an AMD EPYC).")
    yield item(f"A child on one thread: {figure('children', alone)} times swansong's time, a `CancellationToken`"
           f" {figure('children', alone, 'CancellationToken')}.")
    yield item(f"HTTP/2, the smallest requests per second: {figure('http', 'HTTP/2 req/s')}{interval('HTTP/2 req/s')}"
           f" times those without the drain.")
    yield item(f"The 99th percentile of the wake by the last guard is {event(OURS)} times the median of a bare"
           f" unpark; swansong's is {event('swansong')}, crossbeam's {event('crossbeam')}.")


def loss():
    """Some servers and scenarios of the scoreboard."""
    servers = {
        OURS: OURS,
        "hyper": GRACEFUL,
        "go": "Go net/http",
        "node": "Node",
    }
    columns = {
        "keepalive-5": "keep-alive",
        "queued": "queued",
        "silent": "silent",
        "half-head": "half a head",
        "big": "slow reader",
    }
    with open("docs/charts/scoreboard.json", encoding="utf-8") as file:
        board = json.load(file)
    yield "| server | " + " | ".join(columns.values()) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for server, name in servers.items():
        cells = [board["cells"][server][column] for column in columns]
        shown = [f"{c['lost'] + c['wrong']} of {c['requests']}" if "requests" in c else "not run" for c in cells]
        version = board["versions"][server].split()[0].strip(",")
        yield f"| {name} {version} | " + " | ".join(shown) + " |"


def put(path, name, table):
    begin, end = f"<!-- {name}, by ci/readme-costs.sh -->", f"<!-- end of {name} -->"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    block = "\n".join([begin, "", *table, "", end])
    fresh, found = re.subn(f"{re.escape(begin)}[\\s\\S]*?{re.escape(end)}", lambda _: block, text)
    if found != 1:
        sys.exit(f"FAILED: {path} has no markers for the {name}")
    if "--check" in sys.argv and fresh != text:
        sys.exit(f"FAILED: the {name} in {path} are not those that were recorded: run ci/readme-costs.sh")
    with open(path, "w", encoding="utf-8") as file:
        file.write(fresh)


put("docs/costs.md", "targets", [f"Measured {origin()}.", "", *targets()])
put("README.md", "loss", loss())
put("README.md", "costs", readme())
END
