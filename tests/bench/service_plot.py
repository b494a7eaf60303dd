"""The plot of ``bench_service``: throughput against p50 and p99, a line for each stack, as SVG."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from tests.bench.findings import CurvePoint

# Okabe and Ito's palette without its yellow, told apart with every kind of colour vision; marks
# and dashes tell apart what colours alone would not.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#000000", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("", "7 3", "2 3")
MARKS: tuple[Callable[[float, float], str], ...] = (
    lambda x, y: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>',
    lambda x, y: f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"/>',
    lambda x, y: f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z"/>',
    lambda x, y: f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5-5z"/>',
)

PANEL_WIDTH, PANEL_HEIGHT = 400, 300
LEFT, TOP, GAP = 60, 40, 70
LEGEND_ROW = 20
LEGEND_COLUMNS = 2
WIDTH = LEFT + 2 * PANEL_WIDTH + GAP + 40  # half of the last number stands beyond the axis

Points = Sequence[tuple[float, float]]


class Axis(NamedTuple):
    """A logarithmic axis.

    Attributes:
        low: At its begin, a power of ten.
        high: At its end, another one.
        start: Pixels at its begin.
        length: Pixels to its end, below 0 where it points upwards.
    """

    low: float
    high: float
    start: float
    length: float

    def place(self, value: float) -> float:
        """Return where a value lies, in pixels."""
        share = math.log10(value / self.low) / math.log10(self.high / self.low)
        return self.start + self.length * share

    def ticks(self) -> list[float]:
        """Return the powers of ten on it."""
        count = round(math.log10(self.high / self.low))
        return [self.low * 10.0**power for power in range(count + 1)]


def draw(curves: dict[str, list[CurvePoint]]) -> str:
    """Draw both panels.

    Args:
        curves: By the stack's name, in the legend's order; least load first.
    """
    curves = {
        name: [each for each in curve if _can_be_drawn(each)] for name, curve in curves.items()
    }
    curves = {name: curve for name, curve in curves.items() if curve}
    across = _axis([each.speed for curve in curves.values() for each in curve], 0, PANEL_WIDTH)
    times = [time for curve in curves.values() for each in curve for time in (each.p50, each.p99)]
    up = _axis(times, TOP + PANEL_HEIGHT, -PANEL_HEIGHT)
    parts = []
    for number, name in enumerate(("p50", "p99")):
        left = LEFT + number * (PANEL_WIDTH + GAP)
        parts += _frame(name, left, across._replace(start=left), up)
        for place, curve in enumerate(curves.values()):
            points = [
                (left + across.place(each.speed), up.place(getattr(each, name))) for each in curve
            ]
            parts.append(_line(place, points))
    legend_top = TOP + PANEL_HEIGHT + 65
    for place, name in enumerate(curves):
        row, column = divmod(place, LEGEND_COLUMNS)
        x, y = LEFT + column * (PANEL_WIDTH + GAP), legend_top + row * LEGEND_ROW
        parts.append(_line(place, [(x, y - 4), (x + 40, y - 4)]))
        parts.append(f'<text x="{x + 50}" y="{y}">{escape(name)}</text>')
    height = legend_top + math.ceil(len(curves) / LEGEND_COLUMNS) * LEGEND_ROW
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            'font-family="sans-serif" font-size="13" role="img">',
            "<title>Requests per second against latency, by stack</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _can_be_drawn(point: CurvePoint) -> bool:
    return all(0 < value < math.inf for value in (point.speed, point.p50, point.p99))


def _axis(values: Sequence[float], start: float, length: float) -> Axis:
    """Return an axis over whole powers of ten that holds all values."""
    low = 10.0 ** math.floor(math.log10(min(values, default=1.0)))
    high = 10.0 ** math.ceil(math.log10(max(values, default=10.0)))
    return Axis(low, high if high > low else 10 * low, start, length)


def _frame(name: str, left: float, across: Axis, up: Axis) -> list[str]:
    bottom = TOP + PANEL_HEIGHT
    parts = [
        f'<text x="{left + PANEL_WIDTH / 2}" y="{TOP - 14}" text-anchor="middle" '
        f'font-weight="bold">{name}</text>',
        f'<rect x="{left}" y="{TOP}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" '
        'stroke="#666666"/>',
        f'<text x="{left + PANEL_WIDTH / 2}" y="{bottom + 38}" text-anchor="middle">requests per '
        "second</text>",
        f'<text transform="translate({left - 42} {TOP + PANEL_HEIGHT / 2}) rotate(-90)" '
        f'text-anchor="middle">{name}, milliseconds</text>',
    ]
    for value in across.ticks():
        x = across.place(value)
        parts.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:,g}</text>')
    for value in up.ticks():
        y = up.place(value)
        parts.append(f'<path d="M{left} {y:.1f}h{PANEL_WIDTH}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>')
    return parts


def _line(place: int, points: Points) -> str:
    colour = COLOURS[place % len(COLOURS)]
    dashes, mark = DASHES[place // len(COLOURS) % len(DASHES)], MARKS[place % len(MARKS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = "".join(mark(x, y) for x, y in points)
    return (
        f'<g stroke="{colour}" fill="{colour}"><polyline points="{path}" fill="none" '
        f'stroke-width="2" stroke-dasharray="{dashes}"/>{marks}</g>'
    )
