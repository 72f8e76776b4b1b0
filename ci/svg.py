"""What the pictures of docs/charts share that are drawn by scripts: two themes, and a few shapes."""

import html
import pathlib

CHARTS = pathlib.Path(__file__).resolve().parent.parent / "docs/charts"
# The colours of benches/src/bin/charts.rs, and two for what is well and what is not.
THEMES = {
    "light": {
        "ground": "#ffffff", "text": "#1f2328", "faint": "#59636e", "line": "#d1d9e0", "bar": "#eaeef2",
        "ours": "#0969da", "on_ours": "#ffffff", "good": "#dafbe1", "bad": "#cf222e",
    },
    "dark": {
        "ground": "#0d1117", "text": "#f0f6fc", "faint": "#9198a1", "line": "#3d444d", "bar": "#2a313c",
        "ours": "#1f6feb", "on_ours": "#ffffff", "good": "#12351f", "bad": "#da3633",
    },
}


class Picture:
    """An SVG of one theme. It has a ground, since a page may be of the other one."""

    def __init__(self, theme, width, height, label):
        self.colours, self.size, self.label, self.body = THEMES[theme], (width, height), label, []
        self.box(0, 0, width, height, "ground", radius=6)

    def text(self, x, y, words, colour="text", anchor="middle", size=12, weight=400, turn=0):
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
        heavy = f' font-weight="{weight}"' if weight != 400 else ""
        self.body.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{self.colours[colour]}" text-anchor="{anchor}"'
            f' font-size="{size}"{heavy}{turned}>{html.escape(words)}</text>'
        )

    def box(self, x, y, width, height, colour="bar", opacity=1.0, radius=4):
        faint = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
        self.body.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}"'
            f' fill="{self.colours[colour]}"{faint}/>'
        )

    def path(self, shape, colour="faint", width=1.5):
        self.body.append(
            f'<path d="{shape}" fill="none" stroke="{self.colours[colour]}" stroke-width="{width}"/>'
        )

    def arrow(self, shape, x, y, towards, colour="faint"):
        """A line that ends in a head at (x, y), which points `right` or `down`."""
        self.path(shape, colour)
        head = {"right": "l-7 -4v8z", "down": "l-4 -7h8z"}[towards]
        self.body.append(f'<path d="M{x} {y}{head}" fill="{self.colours[colour]}"/>')

    def svg(self):
        width, height = self.size
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
            f' height="{height}" font-family="system-ui, -apple-system, \'Segoe UI\', sans-serif"'
            f' role="img" aria-label="{html.escape(self.label)}">\n' + "\n".join(self.body) + "\n</svg>\n"
        )


def save(name, draw):
    """Draws a picture in both themes; returns the files."""
    files = {CHARTS / f"{name}-{theme}.svg": draw(theme) for theme in THEMES}
    for file, text in files.items():
        file.write_text(text)
    return files
