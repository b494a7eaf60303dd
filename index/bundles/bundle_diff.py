"""What changes from one bundle to another: items, metrics, model, index, answers."""

from typing import Any, NamedTuple

import numpy as np

from index.bundles.answer_changes import AnswerChanges, compare_answers
from index.bundles.bundle import Bundle
from index.bundles.manifest import Manifest
from index.search.item_index import NO_ROW
from model.arrays import Rows

SHOWN_IDS = 10
SECTIONS = ("model", "index", "catalog", "dataset")
NOISE = ("index.curve", "index.flat_milliseconds")
"""Times that building measured: they differ between two builds of the same run."""

Change = tuple[Any, Any]


class ItemChanges(NamedTuple):
    """Items that came and went.

    Attributes:
        before: Size of the first catalog.
        after: Size of the second one.
        added: Items that only the second one has.
        removed: Items that only the first one has.
        first_added: Ids of a few of them, in item-row order, most popular first.
        first_removed: Likewise.
    """

    before: int
    after: int
    added: int
    removed: int
    first_added: list[str]
    first_removed: list[str]


class BundleDiff(NamedTuple):
    """What changes from one bundle to another.

    Attributes:
        before: Version of the first.
        after: Version of the second.
        items: Items that came and went.
        metrics: By part (``valid``, ``test``) and metric; None where a bundle does not have it.
        changes: By field of the manifest (``model.stage``), where it differs; None where a
            bundle does not have it.
        answers: How much answers differ.
    """

    before: str
    after: str
    items: ItemChanges
    metrics: dict[str, dict[str, Change]]
    changes: dict[str, Change]
    answers: AnswerChanges

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "before": self.before,
            "after": self.after,
            "items": self.items._asdict(),
            "metrics": {
                part: {
                    name: {"before": old, "after": new, "difference": difference(old, new)}
                    for name, (old, new) in metrics.items()
                }
                for part, metrics in self.metrics.items()
            },
            "changes": {
                name: {"before": old, "after": new} for name, (old, new) in self.changes.items()
            },
            "answers": self.answers.to_json(),
        }


def diff_bundles(before: Bundle, after: Bundle) -> BundleDiff:
    """Compare two bundles, which may be of different data."""
    first, second = before.manifest, after.manifest
    metrics = zip(("valid", "test"), _metrics(first), _metrics(second), strict=True)
    return BundleDiff(
        before=before.version,
        after=after.version,
        items=_item_changes(before, after),
        metrics={part: _side_by_side(old, new) for part, old, new in metrics},
        changes={
            name: (old, new)
            for name, (old, new) in _side_by_side(_fields(first), _fields(second)).items()
            if old != new and name not in NOISE
        },
        answers=compare_answers(before, after),
    )


def difference(before: float | None, after: float | None) -> float | None:
    """Return after − before, None where one is missing."""
    return None if before is None or after is None else after - before


def _item_changes(before: Bundle, after: Bundle) -> ItemChanges:
    everything = np.arange(before.catalog.n_items)
    counterparts = after.catalog.rows_of(before.catalog.ids_of(everything))
    removed = np.flatnonzero(counterparts == NO_ROW)
    is_new = np.ones(after.catalog.n_items, dtype=np.bool_)
    is_new[counterparts[counterparts != NO_ROW]] = False
    added = np.flatnonzero(is_new)
    return ItemChanges(
        before=before.catalog.n_items,
        after=after.catalog.n_items,
        added=len(added),
        removed=len(removed),
        first_added=_few_ids(after, added),
        first_removed=_few_ids(before, removed),
    )


def _few_ids(bundle: Bundle, rows: Rows) -> list[str]:
    return bundle.catalog.ids_of(rows[:SHOWN_IDS])


def _metrics(manifest: Manifest) -> tuple[dict[str, Any], dict[str, Any]]:
    return manifest.metrics.valid, manifest.metrics.test


def _fields(manifest: Manifest) -> dict[str, Any]:
    """Flatten what describes the bundle: ``model.hyper_parameters.k`` and so on."""
    content = manifest.model_dump(include=set(SECTIONS))
    return {name: value for section in SECTIONS for name, value in _flat(section, content[section])}


def _flat(name: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict):
        return [(name, value)]
    return [pair for key, each in value.items() for pair in _flat(f"{name}.{key}", each)]


def _side_by_side(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Change]:
    names = dict.fromkeys([*before, *after])
    return {name: (before.get(name), after.get(name)) for name in names}
