"""Curves as plain coordinates, which the report's template draws as inline SVG."""

from typing import Any, NamedTuple

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 60, 410, 16, 160

# Okabe and Ito's palette, told apart with every kind of colour vision; dashes tell them apart too.
COLOURS = ("#0072b2", "#d55e00", "#009e73")
DASHES = ("", "6 3", "2 3")

Point = tuple[float, float]


class Frame(NamedTuple):
    """What every chart stands in: its box, and what its axes say at their ends.

    Attributes:
        summary: For those who do not see it.
        first: At the left end.
        last: At the right end.
        low: At the bottom.
        high: At the top.
    """

    summary: str
    first: str
    last: str
    low: str
    high: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


class Line(NamedTuple):
    """One stage in a chart."""

    stage: str
    points: str
    colour: str
    dashes: str


class Chart(NamedTuple):
    """One measure over all steps of training."""

    name: str
    frame: Frame
    lines: list[Line]


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
        Line(
            stage,
            _path(_places(line, (0.0, steps), (low, high))),
            COLOURS[number % 3],
            DASHES[number % 3],
        )
        for number, (stage, line) in enumerate(points.items())
    ]
    summary = f"{name}: from {values[0]:.4g} to {values[-1]:.4g} in {steps:.0f} steps"
    frame = Frame(summary, "0", f"{int(steps)} steps", f"{low:.3g}", f"{high:.3g}")
    return Chart(name, frame, lines)


class RecallChart(NamedTuple):
    """What an index finds, by the time that it takes; both axes run from their least value.

    Attributes:
        frame: Milliseconds from left to right, recall upwards.
        points: Of the line. Shape of SVG's ``points``.
        chosen: Where the index operates: x and y; None where it is none of the points.
    """

    frame: Frame
    points: str
    chosen: Point | None


def make_recall_chart(
    curve: list[dict[str, Any]], parameters: dict[str, float]
) -> RecallChart | None:
    """Make the chart of an index's operating points; None where there are too few to draw.

    Args:
        curve: Entries with ``parameters``, ``recall`` and ``milliseconds``.
        parameters: Those of the point where it operates.
    """
    if len(curve) < 2:  # noqa: PLR2004 - a line needs two
        return None
    times = [entry["milliseconds"] for entry in curve]
    recalls = [entry["recall"] for entry in curve]
    low, high, fastest, slowest = min(recalls), max(recalls), min(times), max(times)
    places = _places(list(zip(times, recalls, strict=True)), (fastest, slowest), (low, high))
    chosen = [
        place
        for place, entry in zip(places, curve, strict=True)
        if entry["parameters"] == parameters
    ]
    frame = Frame(
        summary=f"recall@100 from {low:.4f} in {fastest:.3g} ms to {high:.4f} in {slowest:.3g} ms",
        first=f"{fastest:.3g}",
        last=f"{slowest:.3g} ms",
        low=f"{low:.3g}",
        high=f"{high:.3g}",
    )
    return RecallChart(frame, _path(places), chosen[0] if chosen else None)


def _places(points: list[Point], across: Point, up: Point) -> list[Point]:
    """Scale points to the chart's box, in SVG's coordinates (y points down).

    Args:
        points: To scale.
        across: What lies at the left and at the right edge.
        up: What lies at the bottom and at the top.
    """
    (first, last), (low, high) = across, up
    width, height = (last - first) or 1.0, (high - low) or 1.0
    return [
        (
            round(LEFT + (RIGHT - LEFT) * (x - first) / width, 1),
            round(BOTTOM - (BOTTOM - TOP) * (y - low) / height, 1),
        )
        for x, y in points
    ]


def _path(places: list[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
