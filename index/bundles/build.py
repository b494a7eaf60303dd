"""RUN → BUNDLE: wiring of what the other modules do."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from index.bundles.bundle import REPORT_FILE
from index.bundles.catalog import write_catalog
from index.bundles.choice import Chosen, choose_index
from index.bundles.manifest import Manifest, write_manifest
from index.bundles.probes import N_PROBES, Probes, make_probes, measure_recall, write_probes
from index.bundles.report import render_report
from index.bundles.run_checks import check_run
from index.bundles.tuning import TUNING_USERS
from index.kinds.implementations import implementation_of
from index.kinds.kinds import AUTO
from index.tensor_files import copy_file, write_bytes
from model.arrays import Floats
from model.baselines.names import YARDSTICKS
from model.errors import InputError
from model.files import new_folder
from model.inference.encoder import UserEncoder
from model.inference.loading import ENCODER_FILE, load_encoder
from model.run import Run, read_run

DEFAULT_RECALL = 0.95


class Built(NamedTuple):
    """A bundle just built."""

    path: Path
    manifest: Manifest


def build_bundle(
    run_path: Path,
    out: Path,
    *,
    kind: str = AUTO,
    target_recall: float = DEFAULT_RECALL,
    memory: int | None = None,
    threads: int = 1,
) -> Built:
    """Build a bundle; a failure at any moment leaves nothing at ``out``.

    Args:
        run_path: What ``model train`` left.
        out: The bundle's folder, which must not exist.
        kind: ``auto``, a name of ``index.kinds.kinds``, or a Faiss factory string.
        target_recall: Share of the exact top 100 that the index must find, 0 to 1.
        memory: Bytes that the index may take; None: as many as it likes. For ``auto`` only.
        threads: OpenMP threads of the building.

    Raises:
        InputError: The run cannot become a bundle, or ``out`` exists.
    """
    logger = logging.getLogger(__name__)
    run = read_run(run_path)
    _require_encoder(run)
    encoder = load_encoder(run.encoder_path)
    check_run(run, encoder)
    with new_folder(out) as folder:
        logger.info("Index %s of %d items", kind, len(run.items))
        chosen = choose_index(
            encoder.item_vectors,
            _tuning_interests(encoder, run),
            kind=kind,
            target_recall=target_recall,
            memory=memory,
            threads=threads,
        )
        probes = make_probes(encoder, run.histories)
        chosen, recall = _settle(chosen, encoder.item_vectors, probes, target_recall)
        logger.info("Recall@100 on %d users' interests: %.4f", len(probes.lengths), recall)
        if recall < target_recall:
            raise InputError(
                f"--kind {kind}: finds {recall:.3f} of the exact answers, --recall promises "
                f"{target_recall}; take --kind flat or a lower --recall"
            )
        copy_file(run.encoder_path, folder / ENCODER_FILE)
        index_path = folder / implementation_of(chosen.item_index.kind).file
        chosen.item_index.save(index_path)
        write_catalog(run.items, folder)
        write_probes(folder, probes)
        content = _manifest_content(run, encoder)
        content["index"] = {
            **_describe_index(chosen, index_path.stat().st_size),
            "target_recall": target_recall,
            "measured_recall": recall,
        }
        report = render_report(run, encoder, probes, content)
        write_bytes(folder / REPORT_FILE, report.encode())
        manifest = write_manifest(folder, content)
    logger.info("Bundle %s at %s", manifest.version, out)
    return Built(out, manifest)


def _settle(
    chosen: Chosen, item_vectors: Floats, probes: Probes, target_recall: float
) -> tuple[Chosen, float]:
    """Go along the curve until the promise holds on the probes too: they are other users.

    Returns:
        The index at the point where it does, or at the last one, and its recall on the probes.
    """
    recall = measure_recall(chosen.item_index, item_vectors, probes)
    later = [point for point in chosen.curve if chosen.point and point.recall > chosen.point.recall]
    for point in later:
        if recall >= target_recall:
            break
        chosen.item_index.operate_at(point.parameters)
        chosen = chosen._replace(point=point)
        recall = measure_recall(chosen.item_index, item_vectors, probes)
    return chosen, recall


def _require_encoder(run: Run) -> None:
    """Raise InputError where the run is one of a yardstick."""
    name = run.manifest.get("model")
    if name in YARDSTICKS:
        raise InputError(
            f"{run.path}: a run of {name}, a yardstick, which has no encoder and cannot be served; "
            "build from a run of opal or one of its rivals"
        )


def _tuning_interests(encoder: UserEncoder, run: Run) -> Floats:
    """Encode validation users other than the probes, where there are; shape (u, k, d), float32."""
    histories = [each for each in run.histories if len(each)]
    histories = histories[N_PROBES : N_PROBES + TUNING_USERS] or histories[:TUNING_USERS]
    if not histories:
        histories = [np.array([row]) for row in range(min(len(run.items), TUNING_USERS))]
    return np.stack([each.vectors for each in encoder.encode_batch(histories)])


def _describe_index(chosen: Chosen, size: int) -> dict[str, Any]:
    """Say what the index is, for the manifest.

    Args:
        chosen: The index.
        size: Of its file, in bytes.
    """
    item_index = chosen.item_index
    return {
        "kind": item_index.kind,
        "factory": item_index.factory,
        "metric": "inner_product",
        "parameters": chosen.point.parameters if chosen.point else {},
        "bytes_per_item": item_index.bytes_per_item(size),
        "flat_milliseconds": chosen.flat_milliseconds,
        "curve": [point._asdict() for point in chosen.curve],
    }


def _manifest_content(run: Run, encoder: UserEncoder) -> dict[str, Any]:
    """Say what the bundle is, but for its index; ``write_manifest`` adds version, time, files."""
    trained = run.manifest
    return {
        "git_revision": trained.get("git_revision"),
        "model": {
            "name": trained["model"],
            "stage": trained["stage"],
            "hyper_parameters": trained["hyper_parameters"],
            "fit_on": trained.get("fit_on", "train"),  # a run of an earlier version does not say
        },
        "catalog": {"items": len(run.items), "dim": encoder.dim},
        "metrics": {part: trained["metrics"].get(part, {}) for part in ("valid", "test")},
        # Where the data set lay says nothing outside the machine that trained.
        "dataset": {name: value for name, value in trained["dataset"].items() if name != "path"},
    }
