"""Which cells there are, and which line of which table each belongs to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from model.baselines.names import YARDSTICKS
from model.comparison.cell import Cell, make_config
from model.comparison.variants import MAIN, Variant, ablations, variant_of_k
from model.config.training_config import Recipe
from model.data.dataset import Dataset, read_summary
from model.errors import InputError
from model.model_names import OPAL, SINGLE_VECTOR_RIVALS

YARDSTICK_FOLDER = "yardsticks"
REPORT_FILE = "report.html"
MARKDOWN_FILE = "results.md"
RESULTS_FILE = "results.json"

ALL_OTHERS = ""
"""Stands for data sets that are not named."""


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        datasets: Folders that ``prepare`` wrote.
        out: Where cells and report go.
        models: Names, in the order of the tables.
        recipes: Main tables are made of each; studies of the first.
        seeds: How many, by the name of the data set; ``ALL_OTHERS`` is there too.
        ks: Values of k to study.
        k_models: Models to study them of; those with a single vector have none.
        ablations: Whether to study what is taken from OPAL.
        studied: Names of the data sets to study on; None: all.
        options: Fields of ``TrainingConfig`` for all trainings.
    """

    datasets: Sequence[Path]
    out: Path
    models: Sequence[str]
    recipes: Sequence[Recipe]
    seeds: Mapping[str, int]
    ks: Sequence[int]
    k_models: Sequence[str]
    ablations: bool
    studied: Sequence[str] | None
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """The cells, one for each seed, that make one line of a table.

    Attributes:
        dataset: Name of the data set.
        recipe: None: a yardstick.
        model: Its name.
        variant: The variant; where it is what the main cells are, they are its cells.
        cells: By seed.
    """

    dataset: str
    recipe: Recipe | None
    model: str
    variant: Variant
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Plan:
    """All lines of all tables.

    Attributes:
        request: What was asked for.
        summaries: ``dataset.json`` by the name of the data set.
        lines: The lines.
        left_out: (data set, model, reason) of what the data do not allow.
    """

    request: Request
    summaries: Mapping[str, dict[str, Any]]
    lines: Sequence[Line]
    left_out: Sequence[tuple[str, str, str]]

    @property
    def cells(self) -> list[Cell]:
        """All cells, each once, in the order in which they are run: main tables first."""
        unique: dict[Path, Cell] = {}
        for line in sorted(self.lines, key=lambda line: line.variant.name != MAIN.name):
            for cell in line.cells:
                unique.setdefault(cell.folder, cell)
        return list(unique.values())

    def main(self, dataset: str, recipe: Recipe) -> list[Line]:
        """Return the lines of a main table: the models of a recipe, and the yardsticks."""
        return [
            line
            for line in self.lines
            if line.dataset == dataset
            and line.variant.name == MAIN.name
            and line.recipe in (recipe, None)
        ]


class _Data(NamedTuple):
    """A data set that was asked for: its name, folder, and ``dataset.json``."""

    name: str
    path: Path
    summary: dict[str, Any]


def make_plan(request: Request) -> Plan:
    """Lay out the cells, and look for what cannot work before any of them runs.

    Raises:
        InputError: A data set cannot be read, an option is out of its range, or a folder holds
            something else.
    """
    datasets = [_Data(path.resolve().name, path, read_summary(path)) for path in request.datasets]
    names = [data.name for data in datasets]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"data sets of the same name: {', '.join(sorted(twice))}; rename a folder")
    if clash := {REPORT_FILE, MARKDOWN_FILE, RESULTS_FILE}.intersection(names):
        raise InputError(
            f"a data set is named {', '.join(sorted(clash))}, as a file of the report beside its "
            "cells; rename the folder"
        )
    if unknown := request.seeds.keys() - {ALL_OTHERS, *names}:
        raise InputError(f"--seeds names no data set: {', '.join(sorted(unknown))}")
    if unknown := set(request.studied or ()) - set(names):
        raise InputError(f"--study names no data set: {', '.join(sorted(unknown))}")
    lines: list[Line] = []
    left_out: list[tuple[str, str, str]] = []
    for data, model in product(datasets, request.models):
        if model not in YARDSTICKS:
            lines += _lines_of_model(request, data, model)
        elif reason := _reason_against(model, data.summary):
            left_out.append((data.name, model, reason))
        else:
            lines.append(_yardstick(request, data, model))
    plan = Plan(request, {data.name: data.summary for data in datasets}, lines, left_out)
    for cell in plan.cells:
        cell.require_same()
    return plan


def require_targets(plan: Plan) -> None:
    """Look whether every data set has users to test by.

    Raises:
        InputError: One has none.
    """
    for path in plan.request.datasets:
        if not Dataset.open(path).test.histories:
            raise InputError(
                f"{path}: no user has a test target: an item of the test part, and of the catalog, "
                "that is new to a user with a history; nothing could be measured"
            )


def _lines_of_model(request: Request, data: _Data, model: str) -> Iterator[Line]:
    for recipe in request.recipes:
        main = _line(request, data, model, recipe, MAIN)
        yield main
        is_studied = request.studied is None or data.name in request.studied
        if recipe != request.recipes[0] or not is_studied:
            continue
        if model in request.k_models and model not in SINGLE_VECTOR_RIVALS:
            for k in request.ks:
                yield _or_main(_line(request, data, model, recipe, variant_of_k(k)), main)
        if model == OPAL and request.ablations:
            for variant in ablations(recipe):
                line = _line(request, data, model, recipe, variant)
                if not _is_same(line, main):
                    yield line


def _line(request: Request, data: _Data, model: str, recipe: Recipe, variant: Variant) -> Line:
    cells = []
    for seed in range(request.seeds.get(data.name, request.seeds[ALL_OTHERS])):
        given = {**request.options, **variant.options, "seed": seed}
        config = make_config(model, recipe, given, data.summary)
        folder = request.out / data.name / recipe / model / variant.name / f"seed-{seed}"
        cells.append(
            Cell(
                folder=folder,
                dataset=data.path,
                summary=data.summary,
                model=model,
                recipe=recipe,
                variant=variant,
                seed=seed,
                config=config,
            )
        )
    return Line(data.name, recipe, model, variant, tuple(cells))


def _yardstick(request: Request, data: _Data, model: str) -> Line:
    """Return the line of a yardstick: nothing in it is drawn, so that there is one cell."""
    cell = Cell(
        folder=request.out / data.name / YARDSTICK_FOLDER / model,
        dataset=data.path,
        summary=data.summary,
        model=model,
        recipe=None,
        variant=MAIN,
        seed=0,
        config=None,
    )
    return Line(data.name, None, model, MAIN, (cell,))


def _or_main(line: Line, main: Line) -> Line:
    """Return a variant's line with the main cells where they are the same trainings."""
    if not _is_same(line, main):
        return line
    return Line(line.dataset, line.recipe, line.model, line.variant, main.cells)


def _is_same(line: Line, main: Line) -> bool:
    """Whether both are the same trainings: options that say nothing may differ."""
    mine, mains = (
        [cell.config and cell.config.to_dict() for cell in each.cells] for each in (line, main)
    )
    return mine == mains


def _reason_against(model: str, summary: dict[str, Any]) -> str:
    """Say why the data do not allow a yardstick; empty where they do."""
    if model != "ease":
        return ""
    from model.baselines.ease import require_fit

    try:
        require_fit(int(summary["items"]))
    except InputError as error:
        return str(error)
    return ""
