"""All that is reported, in one structure, from which page and Markdown are written."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from model.comparison.cell import RUN_FOLDER
from model.comparison.document import Figure, Report, Section, Table, Value
from model.comparison.figures import (
    Panel,
    draw_curves,
    draw_map,
    draw_shares,
    draw_study,
    draw_trade_off,
)
from model.comparison.item_map import group_by_category, group_by_direction, place_items
from model.comparison.plan import Plan
from model.comparison.results import (
    Against,
    Result,
    Spread,
    compare_with_rivals,
    failures,
    kind_of,
    main_results,
    missing,
    read_results,
)
from model.comparison.tables import (
    ACCURACY,
    COST,
    LISTS,
    OVERVIEW_HEADER,
    brief_table,
    overview_row,
    table_against,
    table_of_results,
)
from model.comparison.variants import ablations, variant_of_k
from model.config import Recipe
from model.inference.loading import load_encoder
from model.model_names import OPAL
from model.run import read_run

_PROTOCOL = (
    "Test part, full ranking of the catalog by exact search, without what the user has had; users "
    "averaged; mean ± standard deviation over seeds."
)
_INTERVALS = (
    "Difference of each user's metric, averaged over seeds; 95 % percentile interval of 10,000 "
    "resamples of the users. Ahead, behind: the interval excludes 0."
)
_MEASURES = (
    "Of each user's 50 best: ILD, the mean distance (1 − cosine) of pairs of items, by category "
    "vectors and by co-occurrence vectors of the training part, which no compared model made; "
    "category coverage, the share of all categories; pairwise PMI, the mean positive pointwise "
    "mutual information of pairs (nats). Catalog coverage: the share of the catalog in anybody's "
    "list. Log popularity: the mean natural logarithm of training interactions. Of a user's "
    "interests: mean cosine of pairs, and mean Jaccard overlap of their own 50 best."
)


class Summary:
    """What a plan's finished cells show.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._recipes = plan.request.recipes
        self._results: dict[tuple[str, Recipe], list[Result]] = {}
        self._against: dict[tuple[str, Recipe], list[Against]] = {}
        for dataset in plan.summaries:
            for recipe in self._recipes:
                results = main_results(plan, dataset, recipe)
                self._results[dataset, recipe] = results
                self._against[dataset, recipe] = compare_with_rivals(results)

    def report(self) -> Report:
        """Return the report."""
        sections = [self._overview()]
        for dataset in self._plan.summaries:
            sections += [self._main_section(dataset, recipe) for recipe in self._recipes]
            sections += self._studies(dataset)
        sections += self._what_is_not_there()
        paragraphs = [
            "Made by python -m model compare. All models learn from the same part of the same "
            "data, are stopped by the same validation, and are measured by the encoder that would be "
            "served. Recipe default: every model gets what OPAL's default recipe does otherwise "
            "than its paper; recipe paper: every model as its own paper says."
        ]
        return Report("Retrieval models compared", paragraphs, sections)

    def document(self) -> dict[str, Any]:
        """Return the same as JSON types."""
        return {
            "results": [
                {
                    "dataset": result.line.dataset,
                    "recipe": result.line.recipe,
                    "model": result.model,
                    "variant": result.line.variant.name,
                    "seeds": len(result.cells),
                    "values": {name: each._asdict() for name, each in result.values.items()},
                }
                for result in read_results(self._plan.lines)
            ],
            "opal_against": [
                {
                    "dataset": dataset,
                    "recipe": recipe,
                    "rival": rival,
                    "metric": metric,
                    **interval._asdict(),
                    "verdict": interval.verdict,
                }
                for (dataset, recipe), against in self._against.items()
                for rival, intervals in against
                for metric, interval in intervals.items()
            ],
            "failed": {cell.label: why for cell, why in failures(self._plan)},
            "missing": [cell.label for cell in missing(self._plan)],
            "left_out": [list(each) for each in self._plan.left_out],
        }

    def _overview(self) -> Section:
        rows = []
        for (dataset, recipe), results in self._results.items():
            row = overview_row(f"{dataset}, {recipe}", results, self._against[dataset, recipe])
            rows += [row] if row else []
        if not rows:
            return Section(
                "Overview", ["No data set has both OPAL and a multi-interest rival finished yet."]
            )
        caption = (
            f"The rival with the highest test Recall@50, which favours it. {_PROTOCOL} {_INTERVALS}"
        )
        return Section(
            "Overview",
            parts=[Table("OPAL and its best multi-interest rival", caption, OVERVIEW_HEADER, rows)],
        )

    def _main_section(self, dataset: str, recipe: Recipe) -> Section:
        title = f"{dataset}, recipe {recipe}"
        results = self._results[dataset, recipe]
        facts = self._facts(dataset)
        if not results:
            return Section(title, [facts, "Nothing is finished yet."])
        n_users = results[0].measures[0]["test"]["users"]
        of_data = f"{dataset}, recipe {recipe}, {n_users:,} users. "
        parts: list[Table | Figure] = [
            table_of_results(
                "Accuracy",
                f"{of_data}{_PROTOCOL} Larger is better; the best stands out.",
                ACCURACY,
                results,
            )
        ]
        against = self._against[dataset, recipe]
        if against:
            parts.append(table_against("OPAL against each", of_data + _INTERVALS, against))
        parts.append(
            table_of_results(
                "Diversity, breadth, popularity",
                f"{of_data}{_MEASURES} Arrows say which way is better.",
                LISTS,
                results,
            )
        )
        parts.append(self._trade_off(title, of_data, results))
        parts.append(
            table_of_results(
                "Cost",
                f"{of_data}Seconds of a training with its validations, on one core, over all its "
                "interruptions; parameters: numbers in the served encoder; L, found on validation: "
                "interactions of a history that count.",
                COST,
                results,
            )
        )
        parts += _curves(title, of_data, results)
        parts += _shares(title, of_data, results)
        parts += self._map(dataset, recipe, title, of_data)
        return Section(title, [facts], parts)

    def _facts(self, dataset: str) -> str:
        summary = self._plan.summaries[dataset]
        seeds = max(
            (len(line.cells) for line in self._plan.lines if line.dataset == dataset), default=0
        )
        return (
            f"{summary['users']:,} users, {summary['items']:,} items seen in training; "
            f"{summary['train']:,} training, {summary['valid']:,} validation, "
            f"{summary['test']:,} test interactions; split: {summary['split']}. Seeds: {seeds}."
        )

    def _trade_off(self, title: str, of_data: str, results: Sequence[Result]) -> Figure:
        panels = [
            Panel(
                label,
                {
                    result.model: {result.values["recall@50"].mean: result.values[name]}
                    for result in results
                    if name in result.values and "recall@50" in result.values
                },
            )
            for name, label in _distances(results)
        ]
        caption = (
            f"{of_data}A point is a model, averaged over seeds. Right: more hits; up: more diverse "
            "lists of 50. What is both further right and further up is better."
        )
        picture = draw_trade_off(_name("trade-off", title), panels)
        return Figure("Diversity against Recall@50", caption, picture)

    def _studies(self, dataset: str) -> Iterator[Section]:
        recipe = self._recipes[0]
        parts: list[Table | Figure] = []
        if self._plan.request.ks:
            parts += self._study_of_k(dataset, recipe)
        if self._plan.request.ablations:
            parts += self._ablations(dataset, recipe)
        if parts:
            yield Section(f"{dataset}: studies, recipe {recipe}", parts=parts)

    def _study_of_k(self, dataset: str, recipe: Recipe) -> Iterator[Table | Figure]:
        variants = {variant_of_k(k).name: k for k in self._plan.request.ks}
        lines = [
            line
            for line in self._plan.lines
            if line.dataset == dataset and line.recipe == recipe and line.variant.name in variants
        ]
        results = read_results(lines)
        if not results:
            return
        caption = f"{dataset}, recipe {recipe}. {_PROTOCOL} Arrows say which way is better."
        rows = [
            (f"{result.model}, {result.line.variant.label}", result.values) for result in results
        ]
        yield brief_table("Number of interests", caption, "model", rows)
        panels = []
        for name, label in [("recall@50", "Recall@50 (fraction)"), *_distances(results)]:
            drawn: dict[str, dict[float, Spread]] = {}
            for result in results:
                if name in result.values:
                    k = variants[result.line.variant.name]
                    drawn.setdefault(result.model, {})[k] = result.values[name]
            panels.append(Panel(label, drawn))
        yield Figure(
            "Recall@50 and diversity by number of interests",
            f"{dataset}, recipe {recipe}. The paper's figures 3 and 4 (arXiv 2407.14741). Bars: "
            "± one standard deviation over seeds. Larger is better.",
            draw_study(_name("k", dataset), panels),
        )

    def _ablations(self, dataset: str, recipe: Recipe) -> Iterator[Table]:
        main = next((each for each in self._results[dataset, recipe] if each.model == OPAL), None)
        if main is None:
            return
        rows: list[tuple[str, Mapping[str, Spread]]] = [("OPAL as it is", main.values)]
        if soft := main.stage_values("soft"):
            rows.append(("soft stage only", soft))
        if hard := main.stage_values("hard"):
            rows.append(("hard stage, whatever validation chose", hard))
        names = [variant.name for variant in ablations(recipe)]
        lines = [
            line
            for line in self._plan.lines
            if line.dataset == dataset
            and (line.recipe, line.model) == (recipe, OPAL)
            and line.variant.name in names
        ]
        rows += [(result.line.variant.label, result.values) for result in read_results(lines)]
        caption = (
            f"{dataset}, recipe {recipe}: OPAL with one thing changed. {_PROTOCOL} Arrows say "
            "which way is better."
        )
        yield brief_table("Ablations", caption, "what is changed", rows)

    def _map(self, dataset: str, recipe: Recipe, title: str, of_data: str) -> Iterator[Figure]:
        ours = next((each for each in self._results[dataset, recipe] if each.model == OPAL), None)
        if ours is None:
            return
        run = read_run(ours.cells[0].folder / RUN_FOLDER)
        encoder = load_encoder(run.encoder_path)
        if encoder.hyper_categories is None:
            return
        groupings = {
            "by hyper-category": group_by_direction(encoder.item_vectors, encoder.hyper_categories)
        }
        by_category = group_by_category(run.items["category"])
        if by_category is not None:
            groupings["by first category"] = by_category
            note = "Right: the same places by first category, the 8 most frequent."
        else:
            note = "The data have no categories to set beside them."
        places = place_items(encoder.item_vectors)
        yield Figure(
            "Items by hyper-category",
            f"{of_data}OPAL's item vectors, first seed: the {len(places):,} most popular items, "
            f"placed by t-SNE. Left: by the hyper-category that they point along most. {note} "
            "Hyper-categories that form regions of their own tell items apart.",
            draw_map(_name("map", title), places, groupings),
        )

    def _what_is_not_there(self) -> Iterator[Section]:
        failed = [[Value(cell.label), Value(why)] for cell, why in failures(self._plan)]
        if failed:
            caption = "Cells that failed; the same command tries them again."
            yield Section("Failed", parts=[Table("Failed", caption, ["cell", "error"], failed)])
        left_out = [
            [Value(f"{dataset} {model}"), Value(why)] for dataset, model, why in self._plan.left_out
        ]
        if left_out:
            caption = "What the data do not allow."
            yield Section("Left out", parts=[Table("Left out", caption, ["cell", "why"], left_out)])
        if absent := missing(self._plan):
            labels = "; ".join(cell.label for cell in absent)
            yield Section("Not run yet", [f"{len(absent)} cells: {labels}"])


def _distances(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return the names and labels of the distances that there are."""
    kinds = (
        ("ild_cooccurrence@50", "ILD@50, co-occurrence (1 − cosine)"),
        ("ild_category@50", "ILD@50, categories (1 − cosine)"),
    )
    return [
        (name, label) for name, label in kinds if any(name in result.values for result in results)
    ]


def _curves(title: str, of_data: str, results: Sequence[Result]) -> Iterator[Figure]:
    curves = {
        result.model: points
        for result in results
        if (points := _points(result.measures[0].get("curve", [])))
    }
    if curves:
        yield Figure(
            "Training curves",
            f"{of_data}Validation Recall@50 of the first seed by step; the steps of a model's "
            "stages one after the other. Higher is better. A line ends where validation had not "
            "gained for as long as patience lasts.",
            draw_curves(_name("curves", title), curves),
        )


def _points(curve: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """Return (step, validation Recall@50), the steps of stages counted on."""
    points: list[tuple[int, float]] = []
    begin, stage = 0, None
    for point in curve:
        if point["stage"] != stage:
            begin, stage = (points[-1][0] if points else 0), point["stage"]
        points.append((begin + point["step"], point["valid_recall@50"]))
    return points


def _shares(title: str, of_data: str, results: Sequence[Result]) -> Iterator[Figure]:
    shares = {
        result.model: interests["shares"]
        for result in results
        if kind_of(result.model) == "multi-interest"
        and (interests := result.measures[0].get("interests"))
    }
    if shares:
        yield Figure(
            "Share of interactions per interest",
            f"{of_data}First seed, the interactions of test users' histories, each with the "
            "interest that holds most of it; OPAL's are its hyper-categories. Largest first. One "
            "long piece: the interests have collapsed into one.",
            draw_shares(_name("shares", title), shares),
        )


def _name(kind: str, title: str) -> str:
    """Return what is fit for an id."""
    return kind + "-" + "".join(each if each.isalnum() else "-" for each in title)
