"""Training curves as plain coordinates, which the report's template draws as inline SVG."""

from typing import Any, NamedTuple

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 60, 410, 16, 160

# Okabe and Ito's palette, told apart with every kind of colour vision; dashes tell them apart too.
COLOURS = ("#0072b2", "#d55e00", "#009e73")
DASHES = ("", "6 3", "2 3")

Point = tuple[float, float]


class Line(NamedTuple):
    """One stage in a chart."""

    stage: str
    points: str
    colour: str
    dashes: str


class Chart(NamedTuple):
    """One measure over all steps of training."""

    name: str
    summary: str
    lines: list[Line]
    low: str
    high: str
    steps: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


def make_charts(curve: list[dict[str, Any]]) -> list[Chart]:
    """Make one chart per measure.

    Args:
        curve: Entries with ``stage``, ``step`` and any measures; a measure may be missing from an
            entry. Stages follow each other, whether or not their steps start again from 0.
    """
    names = dict.fromkeys(name for entry in curve for name in entry)
    charts = (_make_chart(name, curve) for name in names if name not in {"stage", "step"})
    return [chart for chart in charts if chart is not None]


def _make_chart(name: str, curve: list[dict[str, Any]]) -> Chart | None:
    """Make the chart of one measure; None where it is not a number anywhere."""
    points: dict[str, list[Point]] = {}
    offset, last, stage_before = 0.0, 0.0, None
    for entry in curve:
        stage, step = str(entry["stage"]), float(entry["step"])
        if stage != stage_before and offset + step < last:
            offset = last
        stage_before, last = stage, offset + step
        value = entry.get(name)
        if isinstance(value, int | float) and value == value:  # noqa: PLR0124 - not NaN
            points.setdefault(stage, []).append((last, float(value)))
    values = [value for line in points.values() for _, value in line]
    if not values:
        return None
    low, high, steps = min(values), max(values), max(last, 1.0)
    lines = [
        Line(stage, _path(line, steps, low, high), COLOURS[number % 3], DASHES[number % 3])
        for number, (stage, line) in enumerate(points.items())
    ]
    summary = f"{name}: from {values[0]:.4g} to {values[-1]:.4g} in {steps:.0f} steps"
    return Chart(name, summary, lines, f"{low:.3g}", f"{high:.3g}", int(steps))


def _path(line: list[Point], steps: float, low: float, high: float) -> str:
    """Scale points to the chart's box, in SVG's coordinates (y points down)."""
    span = (high - low) or 1.0
    return " ".join(
        f"{LEFT + (RIGHT - LEFT) * step / steps:.1f},"
        f"{BOTTOM - (BOTTOM - TOP) * (value - low) / span:.1f}"
        for step, value in line
    )
