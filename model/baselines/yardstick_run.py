"""A run of a yardstick: ``train --model pop|itemknn|ease``."""

from pathlib import Path
from typing import Any

from model.baselines.baseline import Baseline
from model.baselines.fitting import fit_baseline
from model.baselines.measuring import measure_parts
from model.data.dataset import Dataset, read_summary
from model.errors import InputError
from model.files import new_folder
from model.run import (
    RUN_FILE,
    Run,
    describe_run,
    read_finished_run,
    read_run_manifest,
    require_free,
    write_run,
)


def fit_yardstick(
    dataset_path: Path,
    out: Path,
    name: str,
    hyper_parameters: dict[str, Any] | None = None,
    *,
    resume: bool = False,
) -> dict[str, Any]:
    """Measure a yardstick and write a run, which holds its figures and what determines it.

    Args:
        dataset_path: The folder that ``prepare`` wrote.
        out: The run's folder.
        name: One of ``YARDSTICKS``.
        hyper_parameters: See ``fit_baseline``.
        resume: A finished run is left as it is; there is no unfinished one to go on from.

    Returns:
        What ``run.json`` holds.

    Raises:
        InputError: The data do not allow it, or ``out`` holds something else.
    """
    if resume and (out / RUN_FILE).exists():
        return _finished_run(dataset_path, out, name, hyper_parameters)
    require_free(out, resume=False)
    dataset = Dataset.open(dataset_path)
    baseline = fit_baseline(name, dataset, hyper_parameters)
    manifest = {
        **describe_run(name, dataset_path, dataset.summary),
        "hyper_parameters": baseline.hyper_parameters,
        "metrics": measure_parts(baseline, dataset),
    }
    histories = dataset.valid.histories
    with new_folder(out, replace=True) as folder:  # an empty one may be there
        write_run(folder, manifest=manifest, catalog=dataset.catalog, histories=histories)
    return read_run_manifest(out)


def remake_baseline(run: Run, dataset: Dataset) -> Baseline:
    """Make the yardstick of a run again.

    Raises:
        InputError: ``run.json`` does not tell its hyper-parameters, or the data do not allow it.
    """
    before = run.manifest.get("hyper_parameters")
    if not isinstance(before, dict):
        raise InputError(f"{run.path / RUN_FILE}: hyper_parameters are missing; train again")
    return fit_baseline(run.manifest["model"], dataset, before)


def _finished_run(
    dataset_path: Path, out: Path, name: str, hyper_parameters: dict[str, Any] | None
) -> dict[str, Any]:
    """Return what a finished run holds, if it is the one that was asked for."""
    manifest = read_finished_run(out, name, read_summary(dataset_path))
    before = manifest.get("hyper_parameters")
    if hyper_parameters is not None and hyper_parameters != before:
        raise InputError(
            f"{out}: holds a run of {name} finished with other hyper-parameters ({before}, now "
            f"{hyper_parameters}); choose another --out"
        )
    return manifest
