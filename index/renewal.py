"""A new bundle from another one and a few items more or less: no training, no new index.

Item rows stay where items are added: these come behind. Where items are removed, those behind move
up. In both cases what was trained, the encoder's weights and the index's lists, stays as it is.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from index.bundle import REPORT_FILE, Bundle, open_bundle
from index.catalog import Catalog, write_catalog
from index.cold_items import mean_vectors, pulled, stretched
from index.implementations import implementation_of, open_index
from index.manifest import Manifest, write_manifest
from index.probes import Probes, make_probes, measure_recall, open_probes, write_probes
from index.tensor_files import write_bytes
from index.tunable_index import TunableIndex
from model.arrays import Floats, Mask, Rows
from model.errors import InputError
from model.files import new_folder
from model.inference import ENCODER_FILE, load_encoder
from model.items import SIMILAR_TO, read_items
from model.run import write_encoder
from model.tensor_files import map_tensors

_NAMED = 5
_HEADING = b"</h1>"

_logger = logging.getLogger(__name__)


class Renewed(NamedTuple):
    """A bundle made from another one."""

    path: Path
    manifest: Manifest


class _Content(NamedTuple):
    """What a new bundle holds.

    Attributes:
        items: As ``write_catalog`` takes them.
        item_vectors: Shape (n_items, d), float32.
        item_index: Over these vectors.
        histories: To make probes of.
    """

    items: pl.DataFrame
    item_vectors: Floats
    item_index: TunableIndex
    histories: list[Rows]


def add_items(base: Path, items: Path, out: Path) -> Renewed:
    """Make a bundle that holds more items; a failure at any moment leaves nothing at ``out``.

    Args:
        base: A bundle.
        items: Their table: ``item_id``, ``similar_to`` (ids of items that they are like, several
            separated by ``|``), ``title``, ``category``, ``url``; a vector comes from the first of
            ``similar_to`` and ``category`` that names anything the bundle knows.
        out: The new bundle's folder, which must not exist.

    Raises:
        InputError: An item is there already, or nothing is known of it; or ``out`` exists.
        BundleError: ``base`` is damaged.
    """
    bundle = open_bundle(base)
    new = read_items(items, similar_to=True)
    if new.is_empty():
        raise InputError(f"{items}: holds no item")
    _require_new(bundle.catalog, new["item_id"].to_list(), items)
    probes = open_probes(base)
    vectors = _cold_vectors(bundle, probes, new, items)
    frame = pl.concat(
        [
            bundle.catalog.to_frame(),
            new.drop(SIMILAR_TO).with_columns(interactions=pl.lit(0, pl.Int64), cold=pl.lit(True)),
        ]
    )
    item_vectors = np.concatenate((bundle.encoder.item_vectors, vectors))
    index = _index_to_change(bundle).with_added(item_vectors)
    histories = [probes.history(number) for number in range(len(probes.lengths))]
    _logger.info("%d items are added to %d", new.height, bundle.catalog.n_items)
    content = _Content(frame, item_vectors, index, histories)
    return _write(bundle, out, content, added=new.height)


def remove_items(base: Path, item_ids: Sequence[str], out: Path) -> Renewed:
    """Make a bundle without some items; a failure at any moment leaves nothing at ``out``.

    An item that is not there any more tells nothing of a user who had it, either. To keep that, and
    for what has to go at once, there are takedowns (``PUT /admin/takedowns``).

    Args:
        base: A bundle.
        item_ids: Which ones.
        out: The new bundle's folder, which must not exist.

    Raises:
        InputError: The bundle has no such item, or no other; or ``out`` exists.
        BundleError: ``base`` is damaged.
    """
    bundle = open_bundle(base)
    rows = bundle.catalog.rows_of(item_ids)
    if (rows < 0).any():
        unknown = [each for each, row in zip(item_ids, rows.tolist(), strict=True) if row < 0]
        raise InputError(f"{base}: has no item {_some(unknown)}; leave them out")
    kept = np.ones(bundle.catalog.n_items, dtype=np.bool_)
    kept[rows] = False
    if not kept.any():
        raise InputError(f"{base}: no item would be left")
    item_vectors = bundle.encoder.item_vectors[kept]
    index = _index_to_change(bundle).with_only(item_vectors, kept)
    frame = bundle.catalog.to_frame().filter(pl.Series(kept))
    removed = int(np.count_nonzero(~kept))
    _logger.info("%d of %d items are removed", removed, bundle.catalog.n_items)
    histories = _histories_among(open_probes(base), kept)
    content = _Content(frame, item_vectors, index, histories)
    return _write(bundle, out, content, removed=removed)


def _require_new(catalog: Catalog, item_ids: list[str], path: Path) -> None:
    rows = catalog.rows_of(item_ids)
    there = [each for each, row in zip(item_ids, rows.tolist(), strict=True) if row >= 0]
    if there:
        raise InputError(f"{path}: in the bundle already: {_some(there)}; leave them out")


def _cold_vectors(bundle: Bundle, probes: Probes, new: pl.DataFrame, path: Path) -> Floats:
    """Make the vectors of new items. Shape (n_new, d), float32."""
    catalog, encoder = bundle.catalog, bundle.encoder
    groups: list[Rows] = []
    number_of: dict[tuple[str, ...], int] = {}  # whole categories are averaged once
    group_of_item, by_category = [], []
    for item_id, similar_to, categories in new.select(
        "item_id", SIMILAR_TO, "category"
    ).iter_rows():
        rows = catalog.rows_of(similar_to)
        names = tuple(sorted(categories)) if not (rows >= 0).any() else ()
        if names not in number_of or not names:
            group = _trained(catalog, catalog.rows_in(names)) if names else rows[rows >= 0]
            if not len(group):
                raise InputError(
                    f"{path}: nothing is known of item {item_id!r}: the bundle has no item of its "
                    f"{SIMILAR_TO} or category; name others, or leave it out until the next "
                    "training"
                )
            number_of[names] = len(groups)
            groups.append(group)
        group_of_item.append(number_of[names])
        by_category.append(bool(names))
    means = pulled(mean_vectors(encoder.item_vectors, groups), encoder.hyper_categories)
    vectors = means[group_of_item]
    return stretched(
        vectors,
        np.array(by_category),
        probes.interests,
        probes.scores[:, -1],
        share=len(vectors) / (catalog.n_items + len(vectors)),
        top=probes.rows.shape[1],
    )


def _trained(catalog: Catalog, rows: Rows) -> Rows:
    """Leave out items whose vector is made of others', where that leaves any."""
    trained = rows[~catalog.cold[rows]]
    return trained if len(trained) else rows


def _index_to_change(bundle: Bundle) -> TunableIndex:
    """Read the index into memory: what is mapped cannot be changed."""
    entry = bundle.manifest.index
    return open_index(
        bundle.path,
        kind=entry.kind,
        factory=entry.factory,
        item_vectors=bundle.encoder.item_vectors,
        parameters=entry.parameters,
        mapped=False,
    )


def _histories_among(probes: Probes, kept: Mask) -> list[Rows]:
    """Take removed items out of the probes' histories and number the others anew."""
    row_now = np.cumsum(kept) - 1
    histories = [probes.history(number) for number in range(len(probes.lengths))]
    return [row_now[history[kept[history]]] for history in histories]


def _write(
    base: Bundle, out: Path, content: _Content, *, added: int = 0, removed: int = 0
) -> Renewed:
    """Write the new bundle."""
    items, item_vectors, item_index, histories = content
    target = base.manifest.index.target_recall
    with new_folder(out) as folder:
        _write_encoder(base.path / ENCODER_FILE, folder / ENCODER_FILE, item_vectors)
        index_path = folder / implementation_of(item_index.kind).file
        item_index.save(index_path)
        write_catalog(items, folder)
        probes = make_probes(load_encoder(folder / ENCODER_FILE), histories)
        recall = measure_recall(item_index, item_vectors, probes)
        if recall < target:
            raise InputError(
                f"{base.path}: with these items its index finds {recall:.3f} of the exact answers, "
                f"it promises {target}; build a bundle from a new training instead"
            )
        write_probes(folder, probes)
        said = base.manifest.model_dump(
            mode="json", exclude={"format_version", "version", "created", "files"}
        )
        said["catalog"] |= {"items": len(item_vectors), "cold": int(items["cold"].sum())}
        said["index"] |= {
            "measured_recall": recall,
            "bytes_per_item": item_index.bytes_per_item(index_path.stat().st_size),
        }
        said["derived_from"] = {"version": base.version, "added": added, "removed": removed}
        report = (base.path / REPORT_FILE).read_bytes()
        write_bytes(folder / REPORT_FILE, _with_note(report, said["derived_from"]))
        manifest = write_manifest(folder, said)
    _logger.info("Bundle %s at %s", manifest.version, out)
    return Renewed(out, manifest)


def _write_encoder(source: Path, target: Path, item_vectors: Floats) -> None:
    """Copy an encoder, but for its item vectors."""
    tensors, metadata = map_tensors(source)
    write_encoder(
        target, {**tensors, "item_embedding": item_vectors}, json.loads(metadata["encoder"])
    )


def _with_note(report: bytes, derived: dict[str, Any]) -> bytes:
    """Say in a report that it is of the bundle that this one was made from."""
    note = (
        f"<p><strong>This is the report of bundle {derived['version']}</strong>, from which this "
        f"one was made: {derived['added']} items were added, {derived['removed']} removed.</p>"
    )
    return report.replace(_HEADING, _HEADING + note.encode(), 1)


def _some(texts: Sequence[str]) -> str:
    shown = ", ".join(repr(each) for each in texts[:_NAMED])
    return shown + (f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else "")
