"""Where cells come from: revisions of this program, as ``model.run`` notes them, and processors.

Uncommitted changes leave no trace in a revision, and a training that went on under another one, or
on another processor, is of the one that finished it.
"""

from collections.abc import Sequence
from typing import Any

from model.comparison.cell import Cell
from model.comparison.results import Result

KINDS = ("trained", "measured")
_SHORT = 7
_UNKNOWN_PROCESSOR = "an unknown processor"

_Seeds = dict[str, dict[str, list[int]]]
"""Seeds by where they come from and label of the model."""


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
    programs = {kind: _by_revision(kind, results) for kind in KINDS}
    if programs["trained"] == programs["measured"]:
        programs = {"trained and measured": programs["trained"]}
    said = [
        _sentence(verb, "by", "revision of this program", seeds)
        for verb, seeds in programs.items()
        if seeds
    ]
    devices = _by_device(results)
    if devices.keys() - {_UNKNOWN_PROCESSOR}:
        said.append(_sentence("trained", "on", "processor", devices))
    return said


def say_mixtures(results: Sequence[Result]) -> list[str]:
    """Warn where the results of a whole report are of several; empty where they are not.

    Args:
        results: All results.
    """
    revisions = {name for kind in KINDS for name in _by_revision(kind, results)}
    devices = _by_device(results)
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


def _by_revision(kind: str, results: Sequence[Result]) -> _Seeds:
    found: _Seeds = {}
    for result in results:
        for cell, measures in zip(result.cells, result.measures, strict=True):
            revision = revisions_of(measures)[kind]
            name = "an unknown revision" if revision is None else revision[:_SHORT]
            _add(found, name, result, cell)
    return found


def _by_device(results: Sequence[Result]) -> _Seeds:
    """Yardsticks are left out: they are fitted on the CPU, wherever models train."""
    found: _Seeds = {}
    for result in results:
        for cell, measures in zip(result.cells, result.measures, strict=True):
            if cell.config is not None:
                _add(found, measures.get("device") or _UNKNOWN_PROCESSOR, result, cell)
    return found


def _add(found: _Seeds, name: str, result: Result, cell: Cell) -> None:
    found.setdefault(name, {}).setdefault(result.label, []).append(cell.seed)


def _sentence(verb: str, at: str, one: str, found: _Seeds) -> str:
    """Say of what all are, or which are of which.

    Args:
        verb: What was done there.
        at: The word before a name.
        one: What all should be of.
        found: What they are of.
    """
    if len(found) == 1:
        return f"All {verb} {at} {', '.join(found)}."
    labels = [label for models in found.values() for label in models]
    parts = []
    for name, models in found.items():
        words = [
            f"{label} (seed {', '.join(map(str, seeds))})" if labels.count(label) > 1 else label
            for label, seeds in models.items()
        ]
        parts.append(f"{at.capitalize()} {name}: {'; '.join(words)}.")
    return " ".join([f"Not all {verb} {at} one {one}.", *parts])
