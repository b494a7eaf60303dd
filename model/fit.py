"""From a prepared data set to a finished run: train, choose the stage, measure, write."""

import datetime
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import TrainingConfig
from model.dataset import Dataset
from model.errors import InputError
from model.evaluation import Metrics, evaluate
from model.files import sync
from model.inference import ENCODER_FILE, UserEncoder, load_encoder
from model.opal import OpalEncoder, Stage
from model.run import RUN_FILE, Run, read_run, read_run_manifest, write_encoder, write_run
from model.training import SELECT_BY, STAGES, Training, evaluate_encoder

CHECKPOINTS = "checkpoints"


def fit(
    dataset_path: Path, out: Path, config: TrainingConfig, *, resume: bool = False
) -> dict[str, Any]:
    """Train both stages of OPAL and write a run.

    The encoder is that of the stage with the better validation Recall@50.

    Args:
        dataset_path: The folder that ``prepare`` wrote.
        out: The run's folder.
        config: How to train.
        resume: Go on from the latest checkpoint in ``out``; a finished run is left as it is.

    Returns:
        What ``run.json`` holds.

    Raises:
        InputError: The data cannot be trained on, or ``out`` holds another run, or one with other
            options.
    """
    if resume and (out / RUN_FILE).exists():
        return _finished_run(out, config)
    _require_free(out, resume=resume)
    dataset = Dataset.open(dataset_path)
    training = Training(dataset, config, out / CHECKPOINTS)
    if resume:
        training.resume()
    training.run()
    stages = {stage: _measure_stage(training, stage, dataset, config) for stage in STAGES}
    best = max(STAGES, key=lambda stage: stages[stage]["metrics"]["valid"][SELECT_BY])
    training.load_best(best)
    export_encoder(training.encoder, out / ENCODER_FILE, best, config.max_len)
    manifest = {
        "model": "opal",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "stage": best,
        "hyper_parameters": config.to_dict(),
        "dataset": {
            "name": dataset_path.name,
            "path": str(dataset_path.resolve()),
            **dataset.summary,
        },
        "metrics": stages[best]["metrics"],
        "stages": stages,
        "curve": training.curve,
    }
    write_run(out, manifest=manifest, catalog=dataset.catalog, histories=dataset.valid.histories)
    return read_run_manifest(out)


def _finished_run(out: Path, config: TrainingConfig) -> dict[str, Any]:
    """Return what a finished run holds, if it is the one that was asked for."""
    manifest = read_run_manifest(out)
    before = manifest.get("hyper_parameters")
    differences = config.differences(before if isinstance(before, dict) else {})
    if differences:
        raise InputError(
            f"{out}: holds a run finished with other options ({differences}); "
            "choose another --out, or resume with the same ones"
        )
    return manifest


def _require_free(out: Path, *, resume: bool) -> None:
    """Raise InputError where a training would write over something else."""
    if (out / RUN_FILE).exists():
        raise InputError(f"{out}: holds a finished run already; choose another --out")
    unfinished = (out / CHECKPOINTS).exists()
    if unfinished and not resume:
        raise InputError(
            f"{out}: holds an unfinished training; pass --resume to go on, or remove the folder"
        )
    if not unfinished and out.exists() and any(out.iterdir()):
        raise InputError(f"{out}: holds other files already; choose another --out")


def evaluate_run(path: Path, part: str, *, dataset_path: Path | None = None) -> dict[str, Any]:
    """Measure a finished run with the encoder that the service uses.

    Args:
        path: The run.
        part: "test" or "valid".
        dataset_path: The data set, if it is not where it was in training.

    Returns:
        ``run``, ``part``, ``dataset`` and ``metrics``.

    Raises:
        InputError: The run or its data set cannot be read, or they do not belong together.
    """
    run = read_run(path)
    dataset = Dataset.open(dataset_path or _dataset_path(run))
    ids = run.items["item_id"] if "item_id" in run.items.columns else None
    if ids is None or not dataset.catalog["item_id"].equals(ids):
        raise InputError(f"{dataset.path}: its catalog is not the one that {path} was trained on")
    encoder = load_encoder(run.encoder_path)
    sequences = dataset.test if part == "test" else dataset.valid
    metrics = evaluate_inference(encoder, sequences.histories, sequences.targets)
    return {"run": str(path), "dataset": str(dataset.path), "part": part, "metrics": metrics}


def _dataset_path(run: Run) -> Path:
    """Return where the data set lay in training."""
    trained_on = run.manifest.get("dataset")
    path = trained_on.get("path") if isinstance(trained_on, dict) else None
    if not isinstance(path, str):
        raise InputError(f"{run.path / RUN_FILE}: dataset.path is missing; pass --dataset")
    return Path(path)


def evaluate_inference(
    encoder: UserEncoder, histories: list[NDArray[Any]], targets: list[NDArray[Any]]
) -> Metrics:
    """Evaluate an encoder of the kind that the service uses (see ``model.evaluation``)."""

    def encode(batch: Any) -> Tensor:
        return torch.stack([torch.from_numpy(encoder.encode(rows).vectors) for rows in batch])

    # A copy, because torch warns of arrays that are read-only as those of a file are.
    item_vectors = torch.tensor(encoder.item_vectors)
    return evaluate(encode, item_vectors, histories, targets)


@torch.no_grad()
def export_encoder(encoder: OpalEncoder, path: Path, stage: Stage, max_len: int) -> None:
    """Write an encoder as ``model.inference`` reads it."""
    tensors: dict[str, Tensor] = {
        "item_embedding": encoder.item_embeddings(),
        "hyper_category": encoder.hyper_categories(),
    }
    if stage == "hard":
        # torch names the weights of the GRU's only layer with the suffix _l0.
        gru = {name.removesuffix("_l0"): value for name, value in encoder.gru.state_dict().items()}
        tensors |= {f"gru.{name}": value for name, value in gru.items()}
        tensors |= {f"head.{name}": value for name, value in encoder.head.state_dict().items()}
    write_encoder(
        path,
        {name: tensor.numpy() for name, tensor in tensors.items()},
        {"stage": stage, "temperature": encoder.temperature, "max_len": max_len},
    )
    sync(path)


def _measure_stage(
    training: Training, stage: Stage, dataset: Dataset, config: TrainingConfig
) -> dict[str, Any]:
    step = training.load_best(stage)
    parts = {"valid": dataset.valid, "test": dataset.test}
    metrics = {
        part: evaluate_encoder(training.encoder, sequences, stage, config.max_len)
        for part, sequences in parts.items()
    }
    return {"step": step, "metrics": metrics}
