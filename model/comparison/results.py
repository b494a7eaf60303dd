"""Finished cells put together: means over seeds, and OPAL against each rival, user by user."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.baselines.names import YARDSTICKS
from model.comparison.bootstrap import Interval, paired_intervals
from model.comparison.cell import Cell
from model.comparison.plan import Line, Plan
from model.comparison.variants import MAIN
from model.config.training_config import Recipe
from model.model_names import MULTI_INTEREST_RIVALS, OPAL

COMPARED_BY = ("recall@50", "hitrate@50")
RECONSTRUCTED = ("octopus",)
"""Models whose papers could not be read (``model.rivals.octopus``): no claim is built on them."""


class Spread(NamedTuple):
    """A measure over seeds.

    Attributes:
        mean: The mean.
        std: Sample standard deviation; None for one seed.
    """

    mean: float
    std: float | None


@dataclass(frozen=True)
class Result:
    """What is known of one line of a table.

    Attributes:
        line: The line.
        cells: Its finished cells.
        measures: ``measures.json`` of each of them.
        values: Measures over seeds, by name; one that a model does not have is not there.
    """

    line: Line
    cells: Sequence[Cell]
    measures: Sequence[dict[str, Any]]
    values: Mapping[str, Spread]

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.line.model

    @property
    def label(self) -> str:
        """The model, and what is changed of it."""
        variant, name = self.line.variant, display_name(self.model)
        return name if variant.name == MAIN.name else f"{name}, {variant.label}"

    @property
    def varied(self) -> list[Mapping[str, Spread]]:
        """Measures over seeds of lists chosen for more and more variety (``varied_lists``)."""
        by_seed = [measures.get("varied", []) for measures in self.measures]
        return [_spreads([_known(each) for each in seeds]) for seeds in zip(*by_seed, strict=True)]

    @property
    def seeds(self) -> list[int]:
        """Seeds that are finished."""
        return [cell.seed for cell in self.cells]

    def of_seeds(self, seeds: Sequence[int]) -> "Result":
        """Return what is known of some seeds only; a yardstick has none, and is the same of all."""
        if self.line.recipe is None:
            return self
        chosen = [
            (cell, measures)
            for cell, measures in zip(self.cells, self.measures, strict=True)
            if cell.seed in seeds
        ]
        return _result(self.line, [cell for cell, _ in chosen], [each for _, each in chosen])

    def stage_values(self, stage: str) -> Mapping[str, Spread]:
        """Return measures over seeds of one stage of the training; empty where it has none."""
        stages = [measures.get("stages", {}).get(stage) for measures in self.measures]
        return _spreads([_flat(each) for each in stages if each])

    def user_means(self, metric: str) -> NDArray[np.float64]:
        """Return a metric of each user, averaged over seeds. Shape (n_users,)."""
        seeds = [cell.users()[metric].astype(np.float64) for cell in self.cells]
        mean: NDArray[np.float64] = np.mean(seeds, axis=0)
        return mean


class Against(NamedTuple):
    """OPAL against a rival.

    Attributes:
        rival: Name of the rival.
        seeds: Seeds that are compared: those that both have.
        planned: How many were asked for.
        intervals: By metric, of ``COMPARED_BY``.
    """

    rival: str
    seeds: Sequence[int]
    planned: int
    intervals: Mapping[str, Interval]


def read_results(lines: Sequence[Line]) -> list[Result]:
    """Read what is finished of some lines; those of which nothing is are left out."""
    results = []
    for line in lines:
        cells = [cell for cell in line.cells if cell.is_finished]
        if cells:
            results.append(_result(line, cells, [cell.measures() for cell in cells]))
    return results


def _result(line: Line, cells: Sequence[Cell], measures: Sequence[dict[str, Any]]) -> Result:
    return Result(line, cells, measures, _spreads([_flat(each) for each in measures]))


def over_common_seeds(results: Sequence[Result]) -> list[Result]:
    """Return results over the seeds that all of them have; as they are where there is none.

    A difference between variants is not to be one between seeds.

    Args:
        results: Of trainings, one at least.
    """
    common = set(results[0].seeds).intersection(*(each.seeds for each in results))
    return [each.of_seeds(sorted(common)) for each in results] if common else list(results)


def compare_with_rivals(results: Sequence[Result]) -> list[Against]:
    """Compare OPAL with every other model of a main table; empty where it is not there.

    Users are paired: the difference of one user's metrics, each averaged over the seeds that both
    models have. A rival without a seed in common is left out.
    """
    pairs = [
        (own, rival)
        for own, rival in pairs_with_rivals(results)
        if own.measures[0]["test"]["users"]
    ]
    differences = [
        own.user_means(metric) - rival.user_means(metric)
        for own, rival in pairs
        for metric in COMPARED_BY
    ]
    found = iter(paired_intervals(differences))
    return [
        Against(
            rival.model,
            own.seeds,
            len(own.line.cells),
            {metric: next(found) for metric in COMPARED_BY},
        )
        for own, rival in pairs
    ]


def pairs_with_rivals(results: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Return OPAL and every other model of a main table, over the seeds that both have.

    Without OPAL there are none; nor is there one with a rival without a seed in common.
    """
    ours = next((result for result in results if result.model == OPAL), None)
    if ours is None:
        return []
    return [
        (ours.of_seeds(seeds), rival.of_seeds(seeds))
        for rival in results
        if rival.model != OPAL and (seeds := _common_seeds(ours, rival))
    ]


def _common_seeds(ours: Result, rival: Result) -> list[int]:
    if rival.line.recipe is None:  # a yardstick has one result for all
        return ours.seeds
    return [seed for seed in ours.seeds if seed in rival.seeds]


def best_rival(results: Sequence[Result], against: Sequence[Against]) -> Result | None:
    """Return the multi-interest rival with the highest test Recall@50; None without any.

    Chosen on the very users that it is compared on, which favours the rival. What is
    ``RECONSTRUCTED`` does not count.

    Args:
        results: Of a main table.
        against: OPAL against each; the rival has the seeds that it is compared over.
    """
    seeds = {each.rival: each.seeds for each in against}
    rivals = [
        result.of_seeds(seeds[result.model])
        for result in results
        if result.model in MULTI_INTEREST_RIVALS
        and result.model in seeds
        and result.model not in RECONSTRUCTED
        and "recall@50" in result.values
    ]
    return max(rivals, key=lambda result: result.values["recall@50"].mean, default=None)


def say_incomplete(lines: Sequence[Line], results: Sequence[Result]) -> list[str]:
    """Say which models have fewer seeds than were asked for; empty where none has.

    Args:
        lines: Of a main table.
        results: What is finished of them.
    """
    finished = {result.model: result.seeds for result in results}
    fewer = [
        f"{display_name(line.model)} {len(finished.get(line.model, []))} of {len(line.cells)}"
        for line in lines
        if len(finished.get(line.model, [])) < len(line.cells)
    ]
    if not fewer:
        return []
    return [
        f"Fewer seeds than asked for: {', '.join(fewer)}; OPAL and a rival are compared over the "
        "seeds that both have."
    ]


def display_name(model: str) -> str:
    """Return a model's name for tables and figures."""
    return f"{model} (reconstructed)" if model in RECONSTRUCTED else model


def kind_of(model: str) -> str:
    """Say what kind of model it is."""
    if model in YARDSTICKS:
        return "yardstick"
    return "multi-interest" if model in (OPAL, *MULTI_INTEREST_RIVALS) else "single vector"


def failures(plan: Plan, failed: Mapping[Path, str]) -> list[tuple[Cell, str]]:
    """Return the cells that failed, and why.

    Args:
        plan: The plan.
        failed: Why, of cells that just failed, by folder; others have a file that says it.
    """
    unfinished = [cell for cell in plan.cells if not cell.is_finished]
    found = [(cell, failed.get(cell.folder) or cell.failure()) for cell in unfinished]
    return [(cell, why) for cell, why in found if why is not None]


def missing(plan: Plan, failed: Mapping[Path, str]) -> list[Cell]:
    """Return the cells that are not finished and have not failed; see ``failures``."""
    folders = {cell.folder for cell, _ in failures(plan, failed)}
    return [cell for cell in plan.cells if not cell.is_finished and cell.folder not in folders]


def main_results(plan: Plan, dataset: str, recipe: Recipe) -> list[Result]:
    """Read what is finished of a main table."""
    return read_results(plan.main(dataset, recipe))


def _flat(measures: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of one cell by name; None is left out."""
    interests = measures.get("interests") or {}
    numbers = {
        **measures["test"],
        **measures.get("seconds", {}),
        **{name: interests.get(name) for name in ("distinct", "cosine", "overlap")},
        **{name: measures.get(name) for name in ("parameters", "k", "max_len", "popularity")},
        "valid_recall@50": measures.get("valid", {}).get("recall@50"),
    }
    return _known(numbers)


def _known(numbers: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in numbers.items()
        if value is not None and not math.isnan(value)
    }


def _spreads(numbers: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Put the numbers of several seeds together; only what all of them have."""
    if not numbers:
        return {}
    names = [name for name in numbers[0] if all(name in each for each in numbers)]
    return {name: _spread([each[name] for each in numbers]) for name in names}


def _spread(values: Sequence[float]) -> Spread:
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), std)
