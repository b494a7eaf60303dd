"""Whether a catalog that grew between two trainings still fits the index that it was given."""

from index.bundles.manifest import Manifest
from index.kinds.kinds import AUTO_FLAT_ITEMS, FLAT

_OUTGROWN = 1.5
"""Times the items that an index was tuned for, above which it should be built anew."""


def tuned_items(manifest: Manifest) -> int:
    """Return how many items there were when a bundle's index was built and tuned.

    Of one that an earlier program derived, as many as have a trained vector: that is all it says.
    """
    if manifest.index.tuned_items is not None:
        return manifest.index.tuned_items
    catalog = manifest.catalog
    return catalog.items if manifest.derived_from is None else catalog.items - catalog.cold


def outgrown(manifest: Manifest) -> list[str]:
    """Say where a catalog has become another one than its index was chosen and tuned for.

    Returns:
        What is so, and what to do about it.
    """
    items, tuned, kind = manifest.catalog.items, tuned_items(manifest), manifest.index.kind
    if kind == FLAT and items <= AUTO_FLAT_ITEMS:
        return []  # it would be chosen again, and has nothing to tune
    anew = "train with the new items and run `python -m index build` again"
    if kind == FLAT and tuned <= AUTO_FLAT_ITEMS:
        return [
            f"{items} items in an exact index that was chosen for {tuned}: above {AUTO_FLAT_ITEMS} "
            f"another kind may be faster; {anew}"
        ]
    if items > _OUTGROWN * tuned:
        return [
            f"{items} items in an index of kind {kind} that was built for {tuned}: searches are "
            f"slower or find less than they could; {anew}"
        ]
    return []
