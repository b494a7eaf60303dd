"""Comparisons to ask for, and cells as they are once measured, with figures made up."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model.comparison.array_files import write_arrays
from model.comparison.cell import MEASURES_FILE, MEASURES_VERSION, USERS_FILE, Cell
from model.comparison.plan import ALL_OTHERS, Plan, Request
from model.model_names import TRAINABLE_MODELS

N_USERS = 400


def request(dataset: Path, out: Path, *models: str, **changes: Any) -> Request:
    """Ask for two seeds of models with the default recipe, and for no study.

    Args:
        dataset: A prepared data set.
        out: Where cells go.
        models: Their names.
        changes: What else is asked for (see ``Request``).
    """
    wanted = Request(
        datasets=[dataset],
        out=out,
        models=models,
        recipes=("default",),
        seeds={ALL_OTHERS: 2},
        ks=(),
        k_models=TRAINABLE_MODELS,
        ablations=False,
        studied=None,
        options={},
    )
    return replace(wanted, **changes)


def finish(cell: Cell, mean: float, **more: Any) -> None:
    """Write what a finished cell holds; users differ alike in all models."""
    random = np.random.default_rng(0)
    base = random.random(N_USERS) * 0.5
    noise = np.random.default_rng(cell.seed + 1).normal(0, 0.01, N_USERS)
    users = (base - base.mean() + mean + noise - noise.mean()).astype(np.float32)
    write_arrays(cell.folder / USERS_FILE, {"recall@50": users, "hitrate@50": 1 - users})
    test = {"recall@50": mean, "hitrate@50": 1 - mean, "ild_cooccurrence@50": 0.5, "users": N_USERS}
    measures = {
        "format_version": MEASURES_VERSION,
        "test": test,
        "seconds": {"wall": 2.0, "cpu": 1.0},
        **more,
    }
    (cell.folder / MEASURES_FILE).write_text(json.dumps(measures))


def finish_all(plan: Plan, **means: float) -> None:
    """Finish the cells of the models that have a mean Recall@50 (``comirec_sa=0.3``)."""
    for cell in plan.cells:
        mean = means.get(cell.model.replace("-", "_"))
        if mean is not None:
            # Of two seeds, mean ± std: the second lies 0.02 above the first.
            finish(cell, mean + 0.02 * (cell.seed - 0.5) if cell.config else mean)
