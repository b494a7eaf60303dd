"""RUN → BUNDLE: wiring of what the other modules do."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from index.bundle import INDEX_FILE, REPORT_FILE
from index.catalog import write_catalog
from index.faiss_index import FaissItemIndex, build_faiss_index
from index.manifest import Manifest, write_manifest
from index.probes import make_probes, measure_recall, write_probes
from index.report import render_report
from index.tensor_files import copy_file, write_bytes
from model.errors import InputError
from model.files import new_folder
from model.inference import ENCODER_FILE, OpalInferenceEncoder, load_encoder
from model.run import Run, read_run

DEFAULT_RECALL = 0.95


class Built(NamedTuple):
    """A bundle just built."""

    path: Path
    manifest: Manifest


def build_bundle(
    run_path: Path, out: Path, *, kind: str = "auto", target_recall: float = DEFAULT_RECALL
) -> Built:
    """Build a bundle; a failure at any moment leaves nothing at ``out``.

    Args:
        run_path: What ``model train`` left.
        out: The bundle's folder, which must not exist.
        kind: ``auto``, ``flat`` or a Faiss factory string.
        target_recall: Share of the exact top 100 that the index must find, 0 to 1.

    Raises:
        InputError: The run cannot become a bundle, or ``out`` exists.
    """
    logger = logging.getLogger(__name__)
    run = read_run(run_path)
    encoder = load_encoder(run.encoder_path)
    check_run(run, encoder)
    with new_folder(out) as folder:
        logger.info("Index %s of %d items", kind, len(run.items))
        item_index = build_faiss_index(encoder.item_vectors, kind=kind)
        probes = make_probes(encoder, run.histories)
        recall = measure_recall(item_index, encoder.item_vectors, probes)
        logger.info("Recall@100 on %d users' interests: %.4f", len(probes.lengths), recall)
        if recall < target_recall:
            raise InputError(
                f"--kind {kind}: finds {recall:.3f} of the exact answers, --recall promises "
                f"{target_recall}; take --kind flat or a lower --recall"
            )
        copy_file(run.encoder_path, folder / ENCODER_FILE)
        item_index.save(folder / INDEX_FILE)
        write_catalog(run.items, folder)
        write_probes(folder, probes)
        content = _manifest_content(run, encoder, item_index, recall, target_recall)
        report = render_report(run, encoder, probes, content)
        write_bytes(folder / REPORT_FILE, report.encode())
        manifest = write_manifest(folder, content)
    logger.info("Bundle %s at %s", manifest.version, out)
    return Built(out, manifest)


def check_run(run: Run, encoder: OpalInferenceEncoder) -> None:
    """Check that encoder, items and histories belong together and can be served.

    Raises:
        InputError: Names the file and what is wrong with it.
    """
    vectors = encoder.item_vectors
    if vectors.shape != (len(run.items), encoder.dim):
        raise InputError(
            f"{run.encoder_path}: item vectors have shape {vectors.shape}, expected "
            f"{(len(run.items), encoder.dim)} (items.parquet, hyper-categories); train again"
        )
    if len(vectors) == 0:
        raise InputError(f"{run.path}: the catalog is empty; train on a log with items")
    not_finite = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(not_finite):
        raise InputError(
            f"{run.encoder_path}: {len(not_finite)} item vectors are NaN or infinite (first: item "
            f"row {not_finite[0]}); the training has diverged, train again"
        )
    ids = run.items["item_id"]
    if ids.null_count():
        raise InputError(f"{run.path / 'items.parquet'}: an item_id is missing")
    if ids.n_unique() < len(ids):
        repeated = ids.filter(ids.is_duplicated())[0]
        raise InputError(f"{run.path / 'items.parquet'}: item_id {repeated!r} occurs twice")
    for history in run.histories:
        if len(history) and not 0 <= history.min() <= history.max() < len(vectors):
            raise InputError(
                f"{run.path / 'histories.parquet'}: an item row is outside 0…{len(vectors) - 1}"
            )


def _manifest_content(
    run: Run,
    encoder: OpalInferenceEncoder,
    item_index: FaissItemIndex,
    measured_recall: float,
    target_recall: float,
) -> dict[str, Any]:
    """Say what the bundle is; ``write_manifest`` adds version, time and files."""
    trained = run.manifest
    return {
        "git_revision": trained.get("git_revision"),
        "model": {
            "name": trained["model"],
            "stage": trained["stage"],
            "hyper_parameters": trained["hyper_parameters"],
        },
        "catalog": {"items": len(run.items), "dim": encoder.dim},
        "index": {
            "kind": item_index.kind,
            "factory": item_index.factory,
            "metric": "inner_product",
            "target_recall": target_recall,
            "measured_recall": measured_recall,
        },
        "metrics": {part: trained["metrics"].get(part, {}) for part in ("valid", "test")},
        "dataset": trained["dataset"],
    }
