"""Who is more varied where both are as right: OPAL and each other model, chosen for variety."""

from collections.abc import Iterator, Mapping, Sequence

from model.comparison.document import Table, Value
from model.comparison.results import Result, Spread, display_name, pairs_with_rivals
from model.comparison.tables import NONE
from model.comparison.varied_lists import LENGTH

RECALL = f"recall@{LENGTH}"
DIVERSITY = "diversity"

SHARES = (1.0, 0.9)
"""Of the recall that the less right of two models has as it is: what is left to both."""

Point = Mapping[str, Spread]


def path_of(result: Result, name: str) -> list[tuple[float, float]]:
    """Return Recall@50 and a measure for more and more variety, where both are known."""
    return [
        (point[RECALL].mean, point[name].mean)
        for point in result.varied
        if RECALL in point and name in point
    ]


def at_recall(points: Sequence[Point], recall: float) -> dict[str, float]:
    """Return what a model's lists are with as much variety as leaves it a recall.

    Args:
        points: Of the model, from no variety to the most; the first one reaches the recall.
        recall: Recall@50 that is left.

    Returns:
        The means at the last point that reaches it, or at that recall between this one and the
        next, on a straight line.
    """
    reached = [number for number, point in enumerate(points) if point[RECALL].mean >= recall]
    last = points[reached[-1]]
    means = {name: spread.mean for name, spread in last.items()}
    if reached[-1] + 1 == len(points):
        return means
    following = points[reached[-1] + 1]
    share = (means[RECALL] - recall) / (means[RECALL] - following[RECALL].mean)
    return {
        name: (1 - share) * mean + share * following[name].mean
        for name, mean in means.items()
        if name in following
    }


def table_at_equal_recall(
    caption: str, results: Sequence[Result], distances: Sequence[tuple[str, str]]
) -> Iterator[Table]:
    """Lay out OPAL's lists and every other model's at the same recall, over the same seeds.

    Args:
        caption: Of the table.
        results: Of all models; without OPAL or without another one there is no table.
        distances: Name and label of the measures of diversity.
    """
    rows = [
        row for own, rival in pairs_with_rivals(results) for row in _rows(own, rival, distances)
    ]
    if not rows:
        return
    header = ["model", f"Recall@{LENGTH}", "diversity: OPAL's", "its"]
    for _, label in distances:
        header += [f"{label.partition(' (')[0]}: OPAL's ↑", "its ↑"]
    yield Table("Diversity at equal recall", caption, header, rows)


def _rows(
    ours: Result, rival: Result, distances: Sequence[tuple[str, str]]
) -> Iterator[list[Value]]:
    if not ours.varied or not rival.varied:  # nobody to measure
        return
    less = min(ours.varied[0][RECALL].mean, rival.varied[0][RECALL].mean)
    for share in SHARES:
        own, its = at_recall(ours.varied, share * less), at_recall(rival.varied, share * less)
        row = [Value(display_name(rival.model)), _number(share * less)]
        row += [_number(own[DIVERSITY], digits=2), _number(its[DIVERSITY], digits=2)]
        for name, _ in distances:
            row += _pair(own.get(name), its.get(name))
        yield row


def _pair(own: float | None, its: float | None) -> list[Value]:
    """Return two numbers, of which the larger stands out."""
    if own is None or its is None:
        return [_number(own), _number(its)]
    return [_number(own, strong=own > its), _number(its, strong=its > own)]


def _number(value: float | None, *, digits: int = 4, strong: bool = False) -> Value:
    if value is None:
        return NONE
    return Value(f"{value:.{digits}f}", strong=strong, is_number=True)
