"""Who is more varied where both are as right: OPAL, chosen for variety, at each rival's recall."""

from collections.abc import Iterator, Mapping, Sequence

from model.comparison.captions import DISTANCES
from model.comparison.document import Table, Value
from model.comparison.results import Result, Spread, display_name
from model.comparison.varied_lists import LENGTH
from model.model_names import OPAL

RECALL = f"recall@{LENGTH}"
DIVERSITY = "diversity"

Point = Mapping[str, Spread]


def at_recall(points: Sequence[Point], recall: float) -> dict[str, float] | None:
    """Return what a model's lists are at a recall, with as much variety as that allows.

    Args:
        points: Of the model, from no variety to the most.
        recall: Recall@50 that is left.

    Returns:
        The means at that recall: those of the last point that reaches it, or between that one and
        the next, on a straight line. None where no point reaches it.
    """
    reached = [number for number, point in enumerate(points) if point[RECALL].mean >= recall]
    if not reached:
        return None
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


def table_at_equal_recall(caption: str, results: Sequence[Result]) -> Iterator[Table]:
    """Lay out OPAL's lists at the recall of every other model's as they are.

    Args:
        caption: Of the table.
        results: Of all models; without OPAL, or of an earlier program, there is no table.
    """
    ours = next((result for result in results if result.model == OPAL and result.varied), None)
    rivals = [result for result in results if result.model != OPAL and result.varied]
    if ours is None or not rivals:
        return
    distances = [each for each in DISTANCES if each[0] in ours.varied[0]]
    header = ["model", f"its Recall@{LENGTH}", "OPAL's diversity there"]
    for _, label in distances:
        short = label.partition(" (")[0]
        header += [f"{short}: its", "OPAL's there ↑"]
    rows = []
    for rival in rivals:
        as_it_is = rival.varied[0]
        there = at_recall(ours.varied, as_it_is[RECALL].mean)
        row = [Value(display_name(rival.model)), _number(as_it_is[RECALL].mean)]
        row.append(_number(there[DIVERSITY], 2) if there else Value("has less recall"))
        for name, _ in distances:
            its = as_it_is[name].mean if name in as_it_is else None
            own = there[name] if there else None
            row.append(_number(its))
            row.append(_number(own, strong=own is not None and its is not None and own > its))
        rows.append(row)
    yield Table("Diversity at equal recall", caption, header, rows)


def _number(value: float | None, digits: int = 4, *, strong: bool = False) -> Value:
    text = "–" if value is None else f"{value:.{digits}f}"
    return Value(text, strong=strong, is_number=True)
