"""Where cells come from: revisions of this program, as ``model.run`` notes them, and processors.

Uncommitted changes leave no trace in a revision, and a training that went on under another one, or
on another processor, is of the one that finished it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from model.comparison.cell import Cell
from model.comparison.results import Result

KINDS = ("trained", "measured")
_SHORT = 7
_UNKNOWN_PROCESSOR = "an unknown processor"


class _Origin(NamedTuple):
    """Something that differs by where a cell comes from.

    Attributes:
        name_of: What it is of a cell with its measures; None: it has none.
        verb: What was done there, for a sentence.
        at: The word before its name.
        one: What all cells should be of.
    """

    name_of: Callable[[Cell, dict[str, Any]], str | None]
    verb: str
    at: str
    one: str


def revisions_of(measures: dict[str, Any]) -> dict[str, str | None]:
    """Return the revisions that trained and measured a cell; None: it is not known.

    Args:
        measures: ``measures.json``.
    """
    found = measures.get("revisions") or {}
    return {kind: found.get(kind) for kind in KINDS}


def say_origins(results: Sequence[Result]) -> list[str]:
    """Say which revision and processor results are of, or which of them are of which.

    Nothing of processors where all cells are of programs that did not note them.

    Args:
        results: All that some tables show.
    """
    trained, measured = (_by_name(origin, results) for origin in _PROGRAMS)
    if trained == measured:
        programs = [(_PROGRAMS[0]._replace(verb="trained and measured"), trained)]
    else:
        programs = list(zip(_PROGRAMS, (trained, measured), strict=True))
    return [
        _sentence(origin, by_name)
        for origin, by_name in [*programs, (_DEVICE, _by_name(_DEVICE, results))]
        if by_name and [*by_name] != [_UNKNOWN_PROCESSOR]
    ]


def say_mixtures(results: Sequence[Result]) -> list[str]:
    """Warn where the results of a whole report are of several; empty where they are not.

    Args:
        results: All results.
    """
    revisions = {name for origin in _PROGRAMS for name in _by_name(origin, results)}
    devices = [*_by_name(_DEVICE, results)]
    said = []
    if len(revisions) > 1:
        said.append(
            "Not all cells are of one revision of this program: they are of "
            f"{', '.join(sorted(revisions))}. Each part says which of its models are of which; a "
            "difference between models of different revisions may be one between programs."
        )
    if len(devices) > 1:
        said.append(
            f"Not all trainings ran on one processor: they ran on {', '.join(sorted(devices))}. "
            "Each part says which; another processor, or precision, rounds otherwise, which is "
            "like another seed."
        )
    return said


def _revision(kind: str, _: Cell, measures: dict[str, Any]) -> str | None:
    revision = revisions_of(measures)[kind]
    return "an unknown revision" if revision is None else revision[:_SHORT]


def _device(cell: Cell, measures: dict[str, Any]) -> str | None:
    if cell.config is None:
        return None  # a yardstick is fitted, by one program on any machine
    return measures.get("device") or _UNKNOWN_PROCESSOR


_PROGRAMS = tuple(
    _Origin(partial(_revision, kind), kind, "by", "revision of this program") for kind in KINDS
)
_DEVICE = _Origin(_device, "trained", "on", "processor")


def _by_name(origin: _Origin, results: Sequence[Result]) -> dict[str, dict[str, list[int]]]:
    """Return seeds by name of the origin and label of the model."""
    found: dict[str, dict[str, list[int]]] = {}
    for result in results:
        for cell, measures in zip(result.cells, result.measures, strict=True):
            name = origin.name_of(cell, measures)
            if name is not None:
                found.setdefault(name, {}).setdefault(result.label, []).append(cell.seed)
    return found


def _sentence(origin: _Origin, by_name: dict[str, dict[str, list[int]]]) -> str:
    if len(by_name) == 1:
        return f"All {origin.verb} {origin.at} {', '.join(by_name)}."
    labels = [label for models in by_name.values() for label in models]
    parts = []
    for name, models in by_name.items():
        words = [
            f"{label} (seed {', '.join(map(str, seeds))})" if labels.count(label) > 1 else label
            for label, seeds in models.items()
        ]
        parts.append(f"{origin.at.capitalize()} {name}: {'; '.join(words)}.")
    return " ".join([f"Not all {origin.verb} {origin.at} one {origin.one}.", *parts])
