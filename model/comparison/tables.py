"""Results as tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from model.comparison.bootstrap import Interval
from model.comparison.document import Table, Value
from model.comparison.results import Against, Result, Spread, best_rival, display_name, kind_of
from model.model_names import OPAL


class Column(NamedTuple):
    """A measure as a column.

    Attributes:
        name: Of the measure.
        heading: What stands above; an arrow says which way is better.
        digits: After the point.
        best_is_strong: Let the largest stand out.
    """

    name: str
    heading: str
    digits: int = 4
    best_is_strong: bool = False


_TITLES = {"recall": "Recall", "hitrate": "HitRate", "ndcg": "NDCG"}

ACCURACY = tuple(
    Column(f"{kind}@{cutoff}", f"{title}@{cutoff} ↑", best_is_strong=True)
    for kind, title in _TITLES.items()
    for cutoff in (10, 20, 50)
)
LISTS = (
    Column("recall@50", "Recall@50 ↑"),
    Column("ild_category@50", "ILD categories ↑"),
    Column("ild_cooccurrence@50", "ILD co-occurrence ↑"),
    Column("category_coverage@50", "category coverage ↑"),
    Column("pmi@50", "pairwise PMI ↓"),
    Column("catalog_coverage@50", "catalog coverage ↑"),
    Column("log_popularity@50", "log popularity ↓", 2),
    Column("distinct", "distinct interests", 2),
    Column("cosine", "cosine of interests ↓", 3),
    Column("overlap", "overlap of interests ↓", 3),
)
COST = (
    Column("cpu", "processor s", 1),
    Column("wall", "wall s", 1),
    Column("parameters", "parameters", 0),
    Column("k", "k", 0),
    Column("max_len", "L", 0),
    Column("popularity", "β", 2),
    Column("valid_recall@50", "valid Recall@50", 4),
)
_BRIEF = (
    Column("recall@50", "Recall@50 ↑"),
    Column("hitrate@50", "HitRate@50 ↑"),
    Column("ndcg@50", "NDCG@50 ↑"),
    Column("ild_category@50", "ILD categories ↑"),
    Column("ild_cooccurrence@50", "ILD co-occurrence ↑"),
    Column("pmi@50", "pairwise PMI ↓"),
    Column("overlap", "overlap of interests ↓", 3),
)

NONE = Value("–", is_number=True)


def table_of_results(
    title: str, caption: str, columns: Sequence[Column], results: Sequence[Result]
) -> Table:
    """Lay out models below one another."""
    labelled = [(_model_label(result), result.values) for result in results]
    return _table(title, caption, "model", columns, labelled)


def brief_table(
    title: str, caption: str, first: str, rows: Sequence[tuple[str, Mapping[str, Spread]]]
) -> Table:
    """Lay out the variants of a study below one another.

    Args:
        title: Of the table.
        caption: Of the table.
        first: Heading of the first column.
        rows: Label and measures of each.
    """
    return _table(title, caption, first, _BRIEF, rows)


def table_against(title: str, caption: str, against: Sequence[Against]) -> Table:
    """Lay out OPAL's differences with its rivals."""
    header = ["OPAL minus", "kind", "seeds", "Recall@50", "verdict", "HitRate@50", "verdict"]
    rows = []
    for each in against:
        values = [value for found in each.intervals.values() for value in interval_values(found)]
        name, kind = display_name(each.rival), kind_of(each.rival)
        rows.append([Value(name), Value(kind), _seeds(each), *values])
    return Table(title, caption, header, rows)


OVERVIEW_HEADER = (
    "data set, recipe",
    "OPAL Recall@50 ↑",
    "best multi-interest rival",
    "its Recall@50",
    "difference",
    "verdict",
    "HitRate@50 difference",
    "verdict",
    "ILD co-occurrence: OPAL, rival ↑",
    "seeds",
)


def overview_row(
    label: str, results: Sequence[Result], against: Sequence[Against]
) -> list[Value] | None:
    """Return OPAL beside its best multi-interest rival; None where either is missing.

    Both over the seeds that both have.
    """
    rival = best_rival(results, against)
    if rival is None:
        return None
    found = next(each for each in against if each.rival == rival.model)
    ours = next(result for result in results if result.model == OPAL).of_seeds(found.seeds)
    recall, hit_rate = found.intervals["recall@50"], found.intervals["hitrate@50"]
    distances = [result.values.get("ild_cooccurrence@50") for result in (ours, rival)]
    return [
        Value(label),
        _spread(ours.values.get("recall@50"), 4),
        Value(rival.model),
        _spread(rival.values.get("recall@50"), 4),
        *interval_values(recall),
        *interval_values(hit_rate),
        Value(", ".join(_spread(each, 4).text for each in distances), is_number=True),
        _seeds(found),
    ]


def _seeds(against: Against) -> Value:
    """Return how many seeds are compared, and of how many."""
    n_seeds = len(against.seeds)
    text = str(n_seeds) if n_seeds == against.planned else f"{n_seeds} of {against.planned}"
    return Value(text, is_number=True)


def interval_values(interval: Interval) -> list[Value]:
    """Return a difference with its interval, and the verdict."""
    text = f"{interval.difference:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
    verdict = interval.verdict
    return [Value(text, is_number=True), Value(verdict, strong=verdict == "ahead")]


def with_seeds(name: str, result: Result) -> str:
    """Return the name of a line, and of how many seeds it is where that is fewer than asked for."""
    n_seeds, planned = len(result.cells), len(result.line.cells)
    return name if n_seeds == planned else f"{name} ({n_seeds} of {planned} seeds)"


def _model_label(result: Result) -> str:
    return with_seeds(display_name(result.model), result)


def _table(
    title: str,
    caption: str,
    first: str,
    columns: Sequence[Column],
    rows: Sequence[tuple[str, Mapping[str, Spread]]],
) -> Table:
    shown = [column for column in columns if any(column.name in values for _, values in rows)]
    best = {column.name: max(_means(column, rows)) for column in shown if column.best_is_strong}
    body = []
    for label, values in rows:
        fields = [
            _spread(
                spread := values.get(column.name),
                column.digits,
                strong=spread is not None and spread.mean == best.get(column.name),
            )
            for column in shown
        ]
        body.append([Value(label), *fields])
    return Table(title, caption, [first, *(column.heading for column in shown)], body)


def _means(column: Column, rows: Sequence[tuple[str, Mapping[str, Spread]]]) -> Iterator[float]:
    return (values[column.name].mean for _, values in rows if column.name in values)


def _spread(spread: Spread | None, digits: int, *, strong: bool = False) -> Value:
    if spread is None:
        return NONE
    text = f"{spread.mean:,.{digits}f}"
    if spread.std is not None:
        text += f" ± {spread.std:,.{digits}f}"
    return Value(text, strong=strong, is_number=True)
