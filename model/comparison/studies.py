"""The part of the report on one data set's studies: number of interests, ablations."""

from collections.abc import Iterator, Mapping, Sequence

from model.comparison.captions import ARROWS, OVERLAP, PROTOCOL, RECONSTRUCTION
from model.comparison.document import Figure, Table
from model.comparison.figures import Panel, draw_study, figure_name
from model.comparison.main_section import known_distances
from model.comparison.plan import Line
from model.comparison.results import (
    RECONSTRUCTED,
    Result,
    Spread,
    over_common_seeds,
    read_results,
)
from model.comparison.tables import brief_table, with_seeds

SAME_SEEDS = "Each model over the seeds that all its lines have, where there are any."


def study_of_k(title: str, lines: Sequence[Line]) -> Iterator[Table | Figure]:
    """Show Recall@50 and diversity by k: figures 3 and 4 of arXiv 2407.14741.

    Args:
        title: Data set and recipe.
        lines: Of variants that set k.
    """
    by_model: dict[str, list[Result]] = {}
    for result in read_results(lines):
        by_model.setdefault(result.model, []).append(result)
    results = [each for own in by_model.values() for each in over_common_seeds(own)]
    if not results:
        return
    rows = [(with_seeds(each.label, each), each.values) for each in results]
    caption = f"{title}. {PROTOCOL} {SAME_SEEDS} {OVERLAP} {ARROWS}"
    if any(each.model in RECONSTRUCTED for each in results):
        caption += f" {RECONSTRUCTION}"
    yield brief_table("Number of interests", caption, "model", rows)
    measures = [("recall@50", "Recall@50 (fraction)"), *known_distances(results)]
    yield Figure(
        "Recall@50 and diversity by number of interests",
        f"{title}. As the paper's figures 3 and 4 (arXiv 2407.14741). Bars: ± one standard "
        f"deviation over seeds. {SAME_SEEDS} Larger is better.",
        draw_study(
            figure_name("k", title),
            [Panel(label, _by_model(name, results)) for name, label in measures],
        ),
    )


def study_of_ablations(
    title: str, main: Result | None, lines: Sequence[Line]
) -> Iterator[Table | Figure]:
    """Show OPAL with one thing changed at a time.

    Args:
        title: Data set and recipe.
        main: OPAL as it is; None: not finished.
        lines: Of variants that change something.
    """
    if main is None or not lines:
        return
    main, *results = over_common_seeds([main, *read_results(lines)])
    as_it_is = with_seeds("OPAL as it is", main)
    rows: list[tuple[str, Mapping[str, Spread]]] = [(as_it_is, main.values)]
    if soft := main.stage_values("soft"):
        rows.append(("soft stage only", soft))
    if hard := main.stage_values("hard"):
        rows.append(("hard stage, whatever validation chose", hard))
    rows += [(with_seeds(each.line.variant.label, each), each.values) for each in results]
    caption = (
        f"{title}: OPAL with one thing changed. {_say_seeds([main, *results])} Where validation "
        f"chooses the soft stage, what concerns the hard one alone changes nothing. {PROTOCOL} "
        f"{OVERLAP} {ARROWS}"
    )
    yield brief_table("Ablations", caption, "what is changed", rows)


def _say_seeds(results: Sequence[Result]) -> str:
    if len({tuple(each.seeds) for each in results}) > 1:
        return "No seed is common to all: a difference may be one between seeds."
    return f"Over the seeds that all have: {', '.join(map(str, results[0].seeds))}."


def _by_model(name: str, results: Sequence[Result]) -> dict[str, dict[float, Spread]]:
    """Return a measure by model, then by k."""
    drawn: dict[str, dict[float, Spread]] = {}
    for result in results:
        if name in result.values:
            k = result.line.variant.options["k"]
            drawn.setdefault(result.model, {})[k] = result.values[name]
    return drawn
