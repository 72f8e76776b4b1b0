#!/usr/bin/env python3
"""Draws docs/charts/phases-{light,dark}.svg: the phases of a drain, and what each means."""

from svg import Picture, save

LABELS, COLUMN, GAP, TOP, ROW = 128, 126, 4, 84, 34
PHASES = ["Running", "Lame duck", "Draining", "Aborting", "Drained"]
# What it is about, and for each stretch of phases: the first, the last, what happens.
ROWS = [
    ("new connections", [(0, 1, "accepted"), (2, 4, "refused, once the queue is empty")]),
    ("readiness probe", [(0, 0, "ready"), (1, 4, "not ready")]),
    ("peers", [(0, 0, "served"), (1, 2, "told to leave"), (3, 3, "cut")]),
    ("work in flight", [(0, 1, "goes on"), (2, 2, "finishes"), (3, 3, "is cancelled")]),
    ("new work", [(0, 1, "admitted"), (2, 4, "refused")]),
    ("the shutdown", [(1, 1, "waits"), (2, 3, "waits for the last guard"), (4, 4, "steps, report")]),
]


def x_of(column):
    return LABELS + column * COLUMN


def draw(theme):
    width, height = x_of(5) + 8, TOP + 44 + ROW * len(ROWS)
    picture = Picture(theme, width, height, "The phases of a drain: running, lame duck, draining, aborting, drained")
    for column, phase in enumerate(PHASES):
        picture.box(x_of(column), TOP, COLUMN - GAP, 32, "ours")
        picture.text(x_of(column) + (COLUMN - GAP) / 2, TOP + 21, phase, "on_ours", size=14, weight=600)
    # Above the boundaries: what moves the drain on.
    for column, words in [(1, "request to stop"), (2, "lame duck over"), (3, "grace period over")]:
        x = x_of(column) - GAP / 2
        picture.arrow(f"M{x} {TOP - 16}V{TOP - 4}", x, TOP - 1, "down")
        picture.text(x, TOP - 22, words, "faint")
    end, start = x_of(4) + 40, x_of(2) + 57
    picture.arrow(f"M{start} {TOP - 1}V22H{end}V{TOP - 4}", end, TOP - 1, "down")
    picture.path(f"M{x_of(3) + 57} {TOP - 1}V22")
    picture.text((start + end) / 2, 15, "the last guard is dropped", "faint")
    for row, (what, stretches) in enumerate(ROWS):
        y = TOP + 44 + ROW * row
        picture.text(LABELS - 12, y + 19, what, "text", "end")
        for first, last, words in stretches:
            left, right = x_of(first), x_of(last + 1) - GAP
            picture.box(left, y, right - left, ROW - 6)
            picture.text((left + right) / 2, y + 19, words)
    return picture.svg()


save("phases", draw)
