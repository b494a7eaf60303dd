"""Which program made the cells: revisions of this repository, as ``model.run`` notes them.

Uncommitted changes leave no trace in a revision, and a training that went on under another one is
of the one that finished it.
"""

from collections.abc import Sequence
from typing import Any

from model.comparison.results import Result

KINDS = ("trained", "measured")
_SHORT = 7


def revisions_of(measures: dict[str, Any]) -> dict[str, str | None]:
    """Return the revisions that trained and measured a cell; None: it is not known.

    Args:
        measures: ``measures.json``.
    """
    found = measures.get("revisions") or {}
    return {kind: found.get(kind) for kind in KINDS}


def say_revisions(results: Sequence[Result]) -> list[str]:
    """Say which revision the results of some tables are of, or which of them are of which.

    Args:
        results: All that the tables show.
    """
    return [_sentence(kind, of_kind) for kind in KINDS if (of_kind := _by_revision(kind, results))]


def say_all_revisions(results: Sequence[Result]) -> list[str]:
    """Warn where the results of a whole report are of several revisions; empty where they are not.

    Args:
        results: All results.
    """
    names = {name for kind in KINDS for name in _by_revision(kind, results)}
    if len(names) < 2:  # noqa: PLR2004 - one is as it should be
        return []
    return [
        f"Not all cells are of one revision of this program: they are of {_listed(sorted(names))}. "
        "Each part says which of its models are of which; a difference between models of different "
        "revisions may be one between programs."
    ]


def _by_revision(kind: str, results: Sequence[Result]) -> dict[str, dict[str, list[int]]]:
    """Return seeds by short revision and label of the model."""
    found: dict[str, dict[str, list[int]]] = {}
    for result in results:
        for cell, measures in zip(result.cells, result.measures, strict=True):
            revision = revisions_of(measures)[kind]
            name = "an unknown revision" if revision is None else revision[:_SHORT]
            found.setdefault(name, {}).setdefault(result.label, []).append(cell.seed)
    return found


def _sentence(kind: str, by_revision: dict[str, dict[str, list[int]]]) -> str:
    if len(by_revision) == 1:
        return f"All {kind} by {_listed(by_revision)}."
    labels = [label for models in by_revision.values() for label in models]
    parts = []
    for name, models in by_revision.items():
        words = [
            f"{label} (seed {', '.join(map(str, seeds))})" if labels.count(label) > 1 else label
            for label, seeds in models.items()
        ]
        parts.append(f"By {name}: {'; '.join(words)}.")
    return " ".join([f"Not all {kind} by one revision of this program.", *parts])


def _listed(names: Sequence[str] | dict[str, Any]) -> str:
    return ", ".join(names)
