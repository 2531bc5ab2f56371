"""Line charts as SVG, without a library: a report that any browser and any forge shows."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 860, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 190, 34, 40

# Okabe and Ito's colours, which people who see few colours tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def chart(title: str, y_label: str, lines: Mapping[str, Points], limit: float | None = None) -> str:
    """An SVG of lines over seconds. limit: a bound to draw, where the lines come anywhere near it."""
    drawn = {name: points for name, points in lines.items() if points}
    x_max = max((x for points in drawn.values() for x, _ in points), default=1.0) or 1.0
    highest = max((y for points in drawn.values() for _, y in points), default=1.0)
    is_limit_shown = limit is not None and highest > limit / 4
    y_max = nice(max(highest, limit if is_limit_shown and limit is not None else 0.0))

    def at(x: float, y: float) -> str:
        across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return f"{LEFT + across * x / x_max:.1f},{TOP + down * (1 - min(y, y_max) / y_max):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for step in range(5):
        y = y_max * step / 4
        (x0, y0), (x1, _) = at(0, y).split(","), at(x_max, y).split(",")
        parts.append(f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y0}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{float(y0) + 4:.1f}" text-anchor="end">{y:g}</text>')
        x = x_max * step / 4
        x0, y0 = at(x, 0).split(",")
        parts.append(f'<text x="{x0}" y="{float(y0) + 16:.1f}" text-anchor="middle">{x:.0f}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">seconds</text>')
    parts.append(f'<text x="{LEFT - 50}" y="{TOP - 8}">{escape(y_label)}</text>')
    if is_limit_shown and limit is not None:
        parts.append(
            f'<polyline points="{at(0, limit)} {at(x_max, limit)}" stroke="#b00" stroke-dasharray="6 4" fill="none"/>'
        )
    for number, (name, points) in enumerate(drawn.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(at(x, y) for x, y in points)
        parts.append(f'<polyline points="{path}" stroke="{colour}" stroke-width="1.6" fill="none"/>')
        y = TOP + 16 * number + 6
        parts.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 8}" width="12" height="8" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 32}" y="{y}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def nice(value: float) -> float:
    """The next round number (1, 2, 4, 5, 8 or 10 times a power of ten) that is not below a value; 1 for none."""
    if value <= 0:
        return 1.0
    power = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.1 if value >= 0.1 else 0.01
    return next(power * step for step in (1, 2, 4, 5, 8, 10, 100) if power * step >= value)


def binned(points: Points, every_s: float) -> dict[int, list[float]]:
    """Values by the number of their bin of `every_s`."""
    bins: dict[int, list[float]] = {}
    for at, value in points:
        bins.setdefault(int(at / every_s), []).append(value)
    return dict(sorted(bins.items()))
