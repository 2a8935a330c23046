"""Panels of lines as an SVG text: logarithmic x axis, light and dark by the reader's own preference, nothing from outside."""
import math
from xml.sax.saxutils import escape

STYLE = """\
  svg { color-scheme: light dark; }
  text { font: 12px system-ui, sans-serif; fill: #333; }
  .title { font-weight: 600; font-size: 13px; }
  .note { font-size: 11px; fill: #666; }
  .ground { fill: #fff; }
  .frame { fill: none; stroke: #999; }
  .grid { stroke: #ddd; }
  .one { stroke: #888; stroke-dasharray: 4 3; }
  .line { fill: none; stroke-width: 2; }
  .s0 { stroke: #0b62c4; } .d0 { fill: #0b62c4; }
  .s1 { stroke: #b3541e; stroke-dasharray: 6 3; } .d1 { fill: #b3541e; }
  .s2 { stroke: #2a7f3f; stroke-dasharray: 2 3; } .d2 { fill: #2a7f3f; }
  .s3 { stroke: #8a3fa8; stroke-dasharray: 8 3 2 3; } .d3 { fill: #8a3fa8; }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd; } .note { fill: #aaa; } .ground { fill: #16181c; } .frame { stroke: #777; } .grid { stroke: #33363c; } .one { stroke: #888; }
    .s0 { stroke: #6db3ff; } .d0 { fill: #6db3ff; } .s1 { stroke: #f0a06a; } .d1 { fill: #f0a06a; } .s2 { stroke: #7dd492; } .d2 { fill: #7dd492; }
    .s3 { stroke: #cf9be6; } .d3 { fill: #cf9be6; }
  }
"""
PANEL_W, PANEL_H, LEFT, RIGHT, TOP, BOTTOM, HEAD = 380, 250, 46, 14, 30, 42, 58


def short(n):
    """1000 as 1k, 1000000 as 1M."""
    for size, letter in ((1000000, "M"), (1000, "k")):
        if n >= size:
            return f"{n / size:g}{letter}"
    return f"{n:g}"


class Panel:
    """One x axis; `series` is a list of (name, [(x, y), ...]), x ascending, 0 allowed."""

    def __init__(self, title, x_label, series):
        self.title, self.x_label, self.series = title, x_label, [(name, points) for name, points in series if points]

    def xs(self):
        return sorted({x for _, points in self.series for x, _ in points})

    def place(self, x):
        """0 to 1: by the logarithm; 0 stands one step before the least that is more."""
        xs = self.xs()
        more = [v for v in xs if v > 0]
        if not more:
            return 0.5
        low, high = math.log10(more[0]), math.log10(more[-1])
        if 0 in xs:
            low -= 0.7
        at = low if x <= 0 else math.log10(x)
        return (at - low) / (high - low) if high > low else 0.5

    def svg(self, left, top, y_most, names):
        """`names`: of all series of all panels, in the order of their colours."""
        x0, x1, y0, y1 = left + LEFT, left + PANEL_W - RIGHT, top + PANEL_H - BOTTOM, top + TOP
        out = [f'<text class="title" x="{x0}" y="{top + 18}">{escape(self.title)}</text>']

        def px(x):
            return x0 + 12 + self.place(x) * (x1 - x0 - 24)

        def py(y):
            return y0 - min(y, y_most) / y_most * (y0 - y1)
        step = 0.25 if y_most <= 1.5 else 0.5 if y_most <= 3 else math.ceil(y_most / 6)
        for k in range(int(y_most / step) + 1):
            y = k * step
            out.append(f'<line class="{"one" if y == 1 else "grid"}" x1="{x0}" y1="{py(y):.1f}" x2="{x1}" y2="{py(y):.1f}"/>')
            out.append(f'<text x="{x0 - 6}" y="{py(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
        for x in self.xs():
            out.append(f'<text x="{px(x):.1f}" y="{y0 + 16}" text-anchor="middle">{short(x)}</text>')
        out.append(f'<text class="note" x="{(x0 + x1) / 2:.1f}" y="{y0 + 33}" text-anchor="middle">{escape(self.x_label)}</text>')
        out.append(f'<rect class="frame" x="{x0}" y="{y1}" width="{x1 - x0}" height="{y0 - y1}"/>')
        for name, points in self.series:
            i = names.index(name)
            out.append(f'<polyline class="line s{i % 4}" points="{" ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in points)}"/>')
            out += [f'<circle class="d{i % 4}" cx="{px(x):.1f}" cy="{py(y):.1f}" r="3.5"><title>{escape(name)}, {x}: {y:.2f}</title></circle>' for x, y in points]
        return out


def svg(title, note, panels, columns=2):
    """The whole picture. All panels have the same y axis, from 0 to a little above the highest point, at least to 1.5."""
    most = max([1.25, *(y for p in panels for _, points in p.series for _, y in points)])
    y_most = math.ceil(most * 1.1 * 2) / 2
    rows = (len(panels) + columns - 1) // columns
    width, height = columns * PANEL_W, HEAD + rows * PANEL_H + 8
    names = list(dict.fromkeys(name for p in panels for name, _ in p.series))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">', f"<title>{escape(title)}</title>",
           f"<style>\n{STYLE}</style>", f'<rect class="ground" width="{width}" height="{height}"/>',
           f'<text class="title" x="{LEFT}" y="20">{escape(title)}</text>', f'<text class="note" x="{LEFT}" y="37">{escape(note)}</text>']
    x = LEFT
    for i, name in enumerate(names):
        out.append(f'<line class="line s{i % 4}" x1="{x}" y1="49" x2="{x + 24}" y2="49"/><circle class="d{i % 4}" cx="{x + 12}" cy="49" r="3.5"/>')
        out.append(f'<text x="{x + 30}" y="53">{escape(name)}</text>')
        x += 50 + 7 * len(name)
    for i, p in enumerate(panels):
        out += p.svg(i % columns * PANEL_W, HEAD + i // columns * PANEL_H, y_most, names)
    return "\n".join([*out, "</svg>", ""])
