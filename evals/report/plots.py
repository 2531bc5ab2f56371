"""Bars with their intervals as SVG, without a library: shown by any browser and any forge."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from search_eval.statistics import Interval

WIDTH, BAR, LEFT, RIGHT, TOP = 760, 22, 190, 150, 40

# Okabe and Ito's colours, which people who see few colours tell apart: ours, and what it is compared with.
OURS, OTHERS = "#0072B2", "#999999"


def bars(title: str, rows: Sequence[tuple[str, Interval, bool]]) -> str:
    """One bar a row, from 0 to 1, the interval as a line. rows: (name, value, whether it is ours)."""
    height = TOP + BAR * len(rows) + 30
    across = WIDTH - LEFT - RIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for step in range(6):
        x = LEFT + across * step / 5
        parts.append(f'<line x1="{x:.0f}" y1="{TOP - 6}" x2="{x:.0f}" y2="{height - 24}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.0f}" y="{height - 8}" text-anchor="middle">{step / 5:.1f}</text>')
    for number, (name, value, is_ours) in enumerate(rows):
        y = TOP + BAR * number
        middle = y + BAR / 2 - 2
        low, high = (LEFT + across * end for end in (value.low, value.high))
        parts.append(f'<text x="{LEFT - 8}" y="{middle + 4:.0f}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{across * value.mean:.1f}" height="{BAR - 5}" '
            f'fill="{OURS if is_ours else OTHERS}"/>'
        )
        parts.append(f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="black"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{middle + 4:.0f}">{escape(str(value))}</text>')
    return "\n".join([*parts, "</svg>\n"])
