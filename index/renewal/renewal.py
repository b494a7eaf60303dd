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

from index.bundles.bundle import REPORT_FILE, Bundle, open_bundle
from index.bundles.catalog import Catalog, write_catalog
from index.bundles.manifest import Manifest, write_manifest
from index.bundles.probes import Probes, make_probes, measure_recall, open_probes, write_probes
from index.kinds.implementations import implementation_of, open_index
from index.kinds.tunable_index import TunableIndex
from index.renewal.likeness import liken
from index.renewal.outgrowing import outgrown, tuned_items
from index.tensor_files import write_bytes
from model.arrays import Floats, Mask, Rows
from model.data.items import SIMILAR_TO, ListedId, read_items
from model.errors import InputError
from model.files import new_folder
from model.inference.lengths import ITEM_EMBEDDING, ITEM_LENGTH
from model.inference.loading import ENCODER_FILE, load_encoder
from model.run import write_encoder
from model.tensor_files import map_tensors

NAMED = 5
"""Of many ids, so many are named."""

_HEADING = b"</h1>"

_logger = logging.getLogger(__name__)


class Renewed(NamedTuple):
    """A bundle made from another one.

    Attributes:
        path: Its folder.
        manifest: What it says of itself.
        unknown_similar_to: Ids that the table of new items named and nobody knows, each once.
        warnings: What somebody should do about it, each with the command.
    """

    path: Path
    manifest: Manifest
    unknown_similar_to: list[str]
    warnings: list[str]


class _Content(NamedTuple):
    """What a new bundle holds.

    Attributes:
        items: As ``write_catalog`` takes them.
        item_tensors: What the encoder's file holds of items; see ``_item_tensors``.
        item_index: Over their vectors.
        histories: To make probes of.
    """

    items: pl.DataFrame
    item_tensors: dict[str, Floats]
    item_index: TunableIndex
    histories: list[Rows]


def add_items(base: Path, items: Path, out: Path) -> Renewed:
    """Make a bundle that holds more items; a failure at any moment leaves nothing at ``out``.

    Args:
        base: A bundle.
        items: Their table: ``item_id``, ``similar_to`` (ids of items that they are like, several
            separated by ``|``), ``title``, ``category``, ``url``; what counts of it for their
            vectors, ``index.renewal.likeness`` says.
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
    vectors, lengths, unknown = liken(bundle, probes, new, str(items))
    if unknown:
        _logger.warning(
            "%s: %d ids of %s are neither in the bundle nor here, and count for nothing: %s",
            items,
            len(unknown),
            SIMILAR_TO,
            some(unknown),
        )
    frame = pl.concat(
        [
            bundle.catalog.to_frame(),
            new.drop(SIMILAR_TO).with_columns(interactions=pl.lit(0, pl.Int64), cold=pl.lit(True)),
        ]
    )
    added = _item_tensors(vectors, lengths)
    before = _item_tensors(bundle.encoder.item_vectors, bundle.encoder.item_lengths)
    item_tensors = {name: np.concatenate((each, added[name])) for name, each in before.items()}
    index = _index_to_change(bundle).with_added(item_tensors[ITEM_EMBEDDING])
    histories = [probes.history(number) for number in range(len(probes.lengths))]
    _logger.info("%d items are added to %d", new.height, bundle.catalog.n_items)
    content = _Content(frame, item_tensors, index, histories)
    manifest = _write(bundle, out, content, added=new.height)
    warnings = outgrown(manifest)
    for each in warnings:
        _logger.warning("%s: %s", out, each)
    return Renewed(out, manifest, unknown, warnings)


def remove_items(
    base: Path, item_ids: Sequence[str], out: Path, *, listed: Sequence[ListedId] = ()
) -> Renewed:
    """Make a bundle without some items; a failure at any moment leaves nothing at ``out``.

    An item that is not there any more tells nothing of a user who had it, either. To keep that, and
    for what has to go at once, there are takedowns (``PUT /admin/takedowns``).

    Args:
        base: A bundle.
        item_ids: Which ones.
        out: The new bundle's folder, which must not exist.
        listed: Others, which stand in a file.

    Raises:
        InputError: The bundle has no such item, or no other; or ``out`` exists.
        BundleError: ``base`` is damaged.
    """
    bundle = open_bundle(base)
    kept = np.ones(bundle.catalog.n_items, dtype=np.bool_)
    kept[_rows_to_remove(bundle, item_ids, listed)] = False
    if not kept.any():
        raise InputError(f"{base}: no item would be left")
    before = _item_tensors(bundle.encoder.item_vectors, bundle.encoder.item_lengths)
    item_tensors = {name: each[kept] for name, each in before.items()}
    index = _index_to_change(bundle).with_only(item_tensors[ITEM_EMBEDDING], kept)
    frame = bundle.catalog.to_frame().filter(pl.Series(kept))
    removed = int(np.count_nonzero(~kept))
    _logger.info("%d of %d items are removed", removed, bundle.catalog.n_items)
    histories = _histories_among(open_probes(base), kept)
    content = _Content(frame, item_tensors, index, histories)
    return Renewed(out, _write(bundle, out, content, removed=removed), [], [])


def _item_tensors(vectors: Floats, lengths: Floats | None) -> dict[str, Floats]:
    """Return what an encoder's file holds of each item, by name; a row for each item."""
    return {ITEM_EMBEDDING: vectors, **({} if lengths is None else {ITEM_LENGTH: lengths})}


def _rows_to_remove(bundle: Bundle, item_ids: Sequence[str], listed: Sequence[ListedId]) -> Rows:
    """Look up items of the command line and of a file. Shape (n,), int64."""
    rows = bundle.catalog.rows_of(item_ids)
    if (rows < 0).any():
        unknown = [each for each, row in zip(item_ids, rows.tolist(), strict=True) if row < 0]
        raise InputError(f"{bundle.path}: has no item {some(unknown)}; leave them out")
    listed_rows = bundle.catalog.rows_of([each.item_id for each in listed])
    unlisted = [each for each, row in zip(listed, listed_rows.tolist(), strict=True) if row < 0]
    if unlisted:
        unknown = [each.item_id for each in unlisted]
        raise InputError(
            f"{unlisted[0].place()}: {bundle.path} has no item {some(unknown)}; leave them out"
        )
    return np.concatenate((rows, listed_rows))


def _require_new(catalog: Catalog, item_ids: list[str], path: Path) -> None:
    rows = catalog.rows_of(item_ids)
    there = [each for each, row in zip(item_ids, rows.tolist(), strict=True) if row >= 0]
    if there:
        raise InputError(f"{path}: in the bundle already: {some(there)}; leave them out")


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
) -> Manifest:
    """Write the new bundle."""
    items, item_tensors, item_index, histories = content
    item_vectors = item_tensors[ITEM_EMBEDDING]
    target = base.manifest.index.target_recall
    with new_folder(out) as folder:
        _write_encoder(base.path / ENCODER_FILE, folder / ENCODER_FILE, item_tensors)
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
            "tuned_items": tuned_items(base.manifest),
        }
        said["derived_from"] = {"version": base.version, "added": added, "removed": removed}
        report = (base.path / REPORT_FILE).read_bytes()
        write_bytes(folder / REPORT_FILE, _with_note(report, said["derived_from"]))
        manifest = write_manifest(folder, said)
    _logger.info("Bundle %s at %s", manifest.version, out)
    return manifest


def _write_encoder(source: Path, target: Path, changed: dict[str, Floats]) -> None:
    """Copy an encoder, but for some tensors."""
    tensors, metadata = map_tensors(source)
    write_encoder(target, {**tensors, **changed}, json.loads(metadata["encoder"]))


def _with_note(report: bytes, derived: dict[str, Any]) -> bytes:
    """Say in a report that it is of the bundle that this one was made from."""
    note = (
        f"<p><strong>This is the report of bundle {derived['version']}</strong>, from which this "
        f"one was made: {derived['added']} items were added, {derived['removed']} removed.</p>"
    )
    return report.replace(_HEADING, _HEADING + note.encode(), 1)


def some(texts: Sequence[str]) -> str:
    """Name the first few."""
    shown = ", ".join(repr(each) for each in texts[:NAMED])
    return shown + (f" and {len(texts) - NAMED} more" if len(texts) > NAMED else "")
