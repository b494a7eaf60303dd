"""All that is reported, in one structure, from which page and Markdown are written."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from model.comparison.captions import INTERVALS, PROTOCOL, RECONSTRUCTION, say_tiny_catalog
from model.comparison.cell import Cell
from model.comparison.document import Report, Section, Table, Value
from model.comparison.main_section import MainSection
from model.comparison.plan import Line, Plan
from model.comparison.provenance import revisions_of, say_mixtures, say_origins
from model.comparison.results import (
    RECONSTRUCTED,
    Against,
    Result,
    best_rival,
    compare_with_rivals,
    display_name,
    failures,
    main_results,
    missing,
    read_results,
    say_incomplete,
)
from model.comparison.studies import study_of_ablations, study_of_k
from model.comparison.tables import OVERVIEW_HEADER, overview_row
from model.comparison.variants import MAIN
from model.config.training_config import Recipe
from model.model_names import OPAL


class Summary:
    """What a plan's finished cells show.

    Args:
        plan: The plan.
        failed: Why, of cells that just failed, by folder; others have a file that says it.
    """

    def __init__(self, plan: Plan, failed: Mapping[Path, str] = MappingProxyType({})) -> None:
        self._plan = plan
        self._failed = failed
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
            "data, are stopped by the same validation, and are measured by the encoder that would "
            "be served. Recipe default: every model gets what OPAL's default recipe does otherwise "
            "than its paper; recipe paper: every model as its own paper says.",
            *say_mixtures(read_results(self._plan.lines)),
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
                    "reconstructed": result.model in RECONSTRUCTED,
                    "variant": result.line.variant.name,
                    "seeds": len(result.cells),
                    "revisions": _by_seed(result, [revisions_of(m) for m in result.measures]),
                    "devices": _by_seed(result, [m.get("device") for m in result.measures]),
                    "values": {name: each._asdict() for name, each in result.values.items()},
                }
                for result in read_results(self._plan.lines)
            ],
            "opal_against": [
                {
                    "dataset": dataset,
                    "recipe": recipe,
                    "rival": each.rival,
                    "seeds": list(each.seeds),
                    "metric": metric,
                    **interval._asdict(),
                    "verdict": interval.verdict,
                }
                for (dataset, recipe), against in self._against.items()
                for each in against
                for metric, interval in each.intervals.items()
            ],
            "failed": {cell.label: why for cell, why in failures(self._plan, self._failed)},
            "missing": [cell.label for cell in missing(self._plan, self._failed)],
            "left_out": [list(each) for each in self._plan.left_out],
        }

    def _overview(self) -> Section:
        rows, notes = [], []
        for (dataset, recipe), results in self._results.items():
            label, against = f"{dataset}, {recipe}", self._against[dataset, recipe]
            row = overview_row(label, results, against)
            rows += [row] if row else []
            said = self._incomplete(dataset, recipe) + _say_ahead_of_best(results, against)
            notes += [f"{label}: {each}" for each in said]
        notes += [
            f"{dataset}: {warning}"
            for dataset, summary in self._plan.summaries.items()
            for warning in say_tiny_catalog(int(summary["items"]))
        ]
        if not rows:
            return Section(
                "Overview",
                [
                    "No data set has both OPAL and a multi-interest rival that counts "
                    "finished yet, with a seed in common.",
                    *notes,
                ],
            )
        caption = (
            "The rival with the highest test Recall@50, which favours it; Octopus does not count. "
            f"{RECONSTRUCTION} {PROTOCOL} {INTERVALS}"
        )
        caption = " ".join([caption, *notes])
        return Section(
            "Overview",
            parts=[Table("OPAL and its best multi-interest rival", caption, OVERVIEW_HEADER, rows)],
        )

    def _main_section(self, dataset: str, recipe: Recipe) -> Section:
        return MainSection(
            title=f"{dataset}, recipe {recipe}",
            facts=self._facts(dataset),
            incomplete=self._incomplete(dataset, recipe),
            n_items=int(self._plan.summaries[dataset]["items"]),
            results=self._results[dataset, recipe],
            against=self._against[dataset, recipe],
        ).section()

    def _facts(self, dataset: str) -> str:
        summary = self._plan.summaries[dataset]
        seeds = max(
            (len(line.cells) for line in self._plan.lines if line.dataset == dataset), default=0
        )
        return (
            f"{summary['users']:,} users, {summary['items']:,} items seen in training; "
            f"{summary['train']:,} training, {summary['valid']:,} validation, "
            f"{summary['test']:,} test interactions; split: {summary['split']}. "
            f"Seeds asked for: {seeds}."
        )

    def _incomplete(self, dataset: str, recipe: Recipe) -> list[str]:
        return say_incomplete(self._plan.main(dataset, recipe), self._results[dataset, recipe])

    def _studies(self, dataset: str) -> Iterator[Section]:
        recipe = self._recipes[0]
        title = f"{dataset}, recipe {recipe}"
        n_items = int(self._plan.summaries[dataset]["items"])
        lines = [
            line
            for line in self._plan.lines
            if (line.dataset, line.recipe) == (dataset, recipe) and line.variant.name != MAIN.name
        ]
        results = self._results[dataset, recipe]
        main = next((result for result in results if result.model == OPAL), None)
        parts = list(study_of_k(title, [line for line in lines if _studies_k(line)]))
        others = [line for line in lines if not _studies_k(line)]
        parts += study_of_ablations(title, main, others)
        if parts:
            shown = [*([main] if main else []), *read_results(lines)]
            paragraphs = [*say_tiny_catalog(n_items), *say_origins(shown)]
            yield Section(f"{title}: studies", paragraphs, parts)

    def _what_is_not_there(self) -> Iterator[Section]:
        failed = [
            [Value(cell.label), Value(why)] for cell, why in failures(self._plan, self._failed)
        ]
        if failed:
            caption = "Cells that failed; the same command tries them again."
            yield Section("Failed", parts=[Table("Failed", caption, ["cell", "error"], failed)])
        left_out = [
            [Value(f"{dataset} {model}"), Value(why)] for dataset, model, why in self._plan.left_out
        ]
        if left_out:
            caption = "What the data do not allow."
            yield Section("Left out", parts=[Table("Left out", caption, ["cell", "why"], left_out)])
        if absent := missing(self._plan, self._failed):
            yield Section("Not run yet", [f"{len(absent)} cells: {_say_absent(absent)}"])


def _by_seed(result: Result, values: Sequence[Any]) -> dict[str, Any]:
    return {f"seed-{seed}": value for seed, value in zip(result.seeds, values, strict=True)}


def _say_ahead_of_best(results: Sequence[Result], against: Sequence[Against]) -> list[str]:
    """Say where a reconstructed model has more recall than the best rival that counts."""
    best = best_rival(results, against)
    if best is None:
        return []
    return [
        f"{display_name(each.model)} has a higher Recall@50 than {best.model}, "
        f"{each.values['recall@50'].mean:.4f}."
        for each in results
        if each.model in RECONSTRUCTED
        and "recall@50" in each.values
        and each.values["recall@50"].mean > best.values["recall@50"].mean
    ]


def _say_absent(cells: Sequence[Cell]) -> str:
    """Name cells, those together that differ in seed or variant alone: studies have many."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.recipe is not None:
            seeds.setdefault((cell.model_label, cell.variant.name), []).append(str(cell.seed))
    variants: dict[tuple[str, str], list[str]] = {}
    for (model, variant), of_variant in seeds.items():
        variants.setdefault((model, ", ".join(of_variant)), []).append(variant)
    trained = [
        f"{model} (seed {of_variants}: {', '.join(of_model)})"
        for (model, of_variants), of_model in variants.items()
    ]
    return "; ".join([*trained, *(cell.label for cell in cells if cell.recipe is None)])


def _studies_k(line: Line) -> bool:
    return "k" in line.variant.options
