"""From a prepared data set to a finished run: train, choose the stage, measure, write."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

from model.baselines.measuring import score_by_baseline
from model.baselines.names import YARDSTICKS
from model.baselines.yardstick_run import remake_baseline
from model.baselines.yardsticks import Choice, choose_yardsticks, measure_yardsticks
from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset, read_summary
from model.encoder import Stage, TrainableEncoder
from model.errors import InputError
from model.evaluation import evaluate_scores, score_by_encoder
from model.inference.loading import ENCODER_FILE, load_encoder
from model.run import (
    CHECKPOINTS,
    RUN_FILE,
    Run,
    claim,
    describe_run,
    read_finished_run,
    read_run,
    read_run_manifest,
    require_free,
    write_run,
)
from model.runtime.device import describe_device
from model.runtime.runtime import Runtime
from model.sampled_evaluation import evaluate_among_sampled
from model.training import training_log
from model.training.export import export_encoder, read_choices
from model.training.refit import Refit
from model.training.training import Training
from model.training.validation import merit

REFIT_CHECKPOINTS = "all"
"""Folder of the checkpoints of a training on everything, within that of the others."""

FitOn = Literal["train", "all"]


class Chosen(NamedTuple):
    """What a training has led to.

    Attributes:
        encoder: To be served.
        stage: Its stage, that with the better validation Recall@50.
        n_users: Users who could be trained on.
        manifest: What ``run.json`` says of it.
    """

    encoder: TrainableEncoder
    stage: Stage
    n_users: int
    manifest: dict[str, Any]


def fit(
    dataset_path: Path,
    out: Path,
    config: TrainingConfig,
    *,
    resume: bool = False,
    yardsticks: Sequence[str] | None = None,
    fit_on: FitOn = "train",
    runtime: Runtime | None = None,
) -> dict[str, Any]:
    """Train all stages of a model, measure the yardsticks beside it, and write a run.

    The encoder is that of the stage with the better validation Recall@50. Of several processes,
    which all call this together, the leader writes the run.

    Args:
        dataset_path: The folder that ``prepare`` wrote.
        out: The run's folder.
        config: What to train, and how.
        resume: Go on from the latest checkpoint in ``out``; a finished run is left as it is.
        yardsticks: Names of those to measure; None: those that cost little.
        fit_on: "all" trains once more, on validation and test part too, what validation has
            chosen; the run gets that encoder, and the metrics of the one that was validated.
        runtime: Where it runs; None: alone on the CPU.

    Returns:
        What ``run.json`` holds.

    Raises:
        InputError: The data cannot be trained on, or do not allow a yardstick; or ``out`` holds
            another run, or one with other options.
        Stopped: A signal came; what has to be there to resume is saved.
    """
    runtime = runtime or Runtime()
    config = config.fitted_to_dataset(read_summary(dataset_path))
    finished = runtime.lead(lambda: _look_into(dataset_path, out, config, fit_on, resume=resume))
    if finished is not None:
        return finished
    dataset = Dataset.open(dataset_path)
    choice = choose_yardsticks(dataset, yardsticks)
    training = Training(
        dataset, config, out / CHECKPOINTS, runtime, log_folder=out / training_log.FOLDER
    )
    with ExitStack() as claimed:
        runtime.lead(lambda: claimed.enter_context(claim(out)))
        chosen = _train(training, dataset, runtime, resume=resume)
        if fit_on == "all":
            chosen = _train_on_all(chosen, dataset, config, out, runtime, resume=resume)
        return runtime.lead(lambda: _finish(chosen, dataset, config, out, choice))


def _look_into(
    dataset_path: Path, out: Path, config: TrainingConfig, fit_on: FitOn, *, resume: bool
) -> dict[str, Any] | None:
    """Return the finished run that is to be left as it is, None where there is work to do."""
    if resume and (out / RUN_FILE).exists():
        return _finished_run(dataset_path, out, config, fit_on)
    require_free(out, resume=resume)
    return None


def _finished_run(
    dataset_path: Path, out: Path, config: TrainingConfig, fit_on: FitOn
) -> dict[str, Any]:
    """Return what a finished run holds, if it is the one that was asked for."""
    manifest = read_finished_run(out, config.model, read_summary(dataset_path))
    before = manifest.get("hyper_parameters")
    differences = config.differences(before if isinstance(before, dict) else {})
    # A run of an earlier version does not say, and knew one way only.
    if (fitted_on := manifest.get("fit_on", "train")) != fit_on:
        differences = "; ".join(
            filter(None, [differences, f"--fit-on is {fit_on}, was {fitted_on}"])
        )
    if differences:
        raise InputError(
            f"{out}: holds a run finished with other options ({differences}); "
            "choose another --out, or resume with the same ones"
        )
    return manifest


def _train(training: Training, dataset: Dataset, runtime: Runtime, *, resume: bool) -> Chosen:
    """Train all stages on the training part, measure each, and choose one."""
    if resume:
        training.resume()
    training.run()
    stages = runtime.lead(
        lambda: {stage: _measure_stage(training, stage, dataset) for stage in training.stages}
    )
    best = max(training.stages, key=lambda stage: merit(stages[stage]["metrics"]["valid"]))
    training.load_best(best)
    manifest = {
        "fit_on": "train",
        "trained_on": describe_device(runtime.device),
        "metrics": stages[best]["metrics"],
        "stages": stages,
        "curve": training.curve,
    }
    return Chosen(training.encoder, best, training.learner.n_users, manifest)


def _train_on_all(
    chosen: Chosen,
    dataset: Dataset,
    config: TrainingConfig,
    out: Path,
    runtime: Runtime,
    *,
    resume: bool,
) -> Chosen:
    """Train anew on all parts what validation has chosen."""
    stages = chosen.encoder.stages
    stages = stages[: stages.index(chosen.stage) + 1]
    refit = Refit(
        dataset,
        config,
        steps={stage: chosen.manifest["stages"][stage]["step"] for stage in stages},
        n_users=chosen.n_users,
        folder=out / CHECKPOINTS / REFIT_CHECKPOINTS,
        runtime=runtime,
        log_folder=out / training_log.FOLDER,
    )
    if resume:
        refit.resume()
    encoder = refit.run()
    described = {
        "steps": refit.steps,
        **encoder.learned_terms(),
        "metrics": "not measured: those of this run are of the model that was validated, which "
        "has seen the training part alone",
    }
    return chosen._replace(
        encoder=encoder, manifest={**chosen.manifest, "fit_on": "all", "refit": described}
    )


def _finish(
    chosen: Chosen,
    dataset: Dataset,
    config: TrainingConfig,
    out: Path,
    yardsticks: Choice,
) -> dict[str, Any]:
    """Measure the yardsticks and write the run; return what ``run.json`` holds."""
    choices = read_choices(chosen.manifest["stages"][chosen.stage])
    interactions = dataset.catalog["interactions"].to_numpy()
    export_encoder(chosen.encoder, out / ENCODER_FILE, chosen.stage, choices, interactions)
    manifest = {
        **describe_run(config.model, dataset.path, dataset.summary),
        "stage": chosen.stage,
        "hyper_parameters": config.to_dict(),
        **chosen.manifest,
        **measure_yardsticks(dataset, yardsticks),
    }
    write_run(out, manifest=manifest, catalog=dataset.catalog, histories=dataset.valid.histories)
    return read_run_manifest(out)


def evaluate_run(
    path: Path, part: str, *, dataset_path: Path | None = None, n_negatives: int | None = None
) -> dict[str, Any]:
    """Measure a finished run: with the encoder that the service uses, a yardstick made anew.

    Args:
        path: The run.
        part: "test" or "valid".
        dataset_path: The data set, if it is not where it was in training.
        n_negatives: How many items each target is ranked among (``model.sampled_evaluation``);
            None: all.

    Returns:
        ``run``, ``part``, ``dataset`` and ``metrics``; ``negatives`` where they were sampled.

    Raises:
        InputError: The run or its data set cannot be read, or they do not belong together; or the
            encoder has seen what it would be measured on; or there are too few items to sample.
    """
    run = read_run(path)
    if run.manifest.get("fit_on") == "all":
        raise InputError(
            f"{path}: trained with --fit-on all, its encoder has seen every part; what the model "
            f"reached that was validated is in {RUN_FILE}"
        )
    dataset = Dataset.open(dataset_path or _dataset_path(run))
    ids = run.items["item_id"] if "item_id" in run.items.columns else None
    if ids is None or not dataset.catalog["item_id"].equals(ids):
        raise InputError(f"{dataset.path}: its catalog is not the one that {path} was trained on")
    sequences = dataset.test if part == "test" else dataset.valid
    if run.manifest.get("model") in YARDSTICKS:
        score = score_by_baseline(remake_baseline(run, dataset))
    else:
        score = score_by_encoder(load_encoder(run.encoder_path))
    of_run = {"run": str(path), "dataset": str(dataset.path), "part": part}
    measured_on = score, dataset.n_items, sequences.histories, sequences.targets
    if n_negatives is None:
        return {**of_run, "metrics": evaluate_scores(*measured_on)}
    metrics = evaluate_among_sampled(*measured_on, n_negatives=n_negatives)
    return {**of_run, "negatives": n_negatives, "metrics": metrics}


def _dataset_path(run: Run) -> Path:
    """Return where the data set lay in training."""
    trained_on = run.manifest.get("dataset")
    path = trained_on.get("path") if isinstance(trained_on, dict) else None
    if not isinstance(path, str):
        raise InputError(f"{run.path / RUN_FILE}: dataset.path is missing; pass --dataset")
    return Path(path)


def _measure_stage(training: Training, stage: Stage, dataset: Dataset) -> dict[str, Any]:
    step = training.load_best(stage)
    choices, valid = training.chooser.choose(training.encoder, stage)
    test = training.chooser.evaluate(training.encoder, dataset.test, stage, choices)
    metrics = {"valid": valid, "test": test}
    terms = training.encoder.learned_terms()
    return {"step": step, **choices._asdict(), **terms, "metrics": metrics}
