"""Training: what a step costs when the catalog grows tenfold, with and without neighbours.

    python tests/bench/bench_training_scale.py [--quick] [--json]

Both catalogs have a log of the same shape: as many users, the same lengths, popularity falling
with the same power of an item's rank. A step is everything: batch, forward, backward, optimiser,
moving average. Weights start at random, which changes nothing about the time of a step.
"""

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.measuring import Row, Table, parse_options, seconds_of, show, use_one_thread

if TYPE_CHECKING:
    from model.data.dataset import Dataset
    from model.encoder import Stage
    from model.training.learner import Learner

NEIGHBOURS = (0.0, 1.0)
CATALOGS, CATALOGS_QUICK = (100_000, 1_000_000), (60_000, 600_000)
USERS, USERS_QUICK = 100_000, 2_000
LENGTHS = (5, 100)  # of a user's sequence, uniform
POPULARITY = 0.8  # interactions with the item of rank r go by r^(−0.8)
STEPS, STEPS_QUICK = 60, 2
WARM_UP = 5


def main() -> None:
    """Measure both stages over both catalogs and print them."""
    options = parse_options("Measure a step of OPAL's training as the catalog grows.")
    use_one_thread()
    import torch

    from model.runtime.memory import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()  # the command `train` does so too
    catalogs = CATALOGS_QUICK if options.quick else CATALOGS
    learners = {
        (n_items, neighbours): make_learner(dataset, neighbours, options)
        for n_items in catalogs
        for dataset in [draw_dataset(n_items, USERS_QUICK if options.quick else USERS)]
        for neighbours in NEIGHBOURS
    }
    steps = STEPS_QUICK if options.quick else STEPS
    rows: list[Row] = []
    for stage in ("soft", "hard"):
        rows += measure(stage, learners, steps)
    title = (
        f"default recipe, B = {32 if options.quick else 256}, L = 100, k = 4, d = 64, "
        f"{steps} steps each, by turns"
    )
    show("Training, large catalogs", [Table(title, rows)], threads="one thread", options=options)


def make_learner(dataset: "Dataset", neighbours: float, options: argparse.Namespace) -> "Learner":
    """Return what trains on a data set, as over many users."""
    from model.config.training_config import TrainingConfig
    from model.runtime.runtime import Runtime
    from model.training.learner import Learner

    config = TrainingConfig(
        k=4,
        dim=64,
        batch_size=32 if options.quick else 256,
        start="random",
        attention=True,
        cut_draws=2,
        neighbours=neighbours,
    )
    return Learner(dataset, config, dataset.train_end, Runtime())


def draw_dataset(n_items: int, n_users: int) -> "Dataset":
    """Draw a log, all of it training part, as ``Dataset.open`` would return it."""
    import numpy as np
    import polars as pl

    from model.data.dataset import Dataset

    random = np.random.default_rng(0)
    lengths = random.integers(LENGTHS[0], LENGTHS[1] + 1, size=n_users)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    popularity = np.cumsum(np.arange(1, n_items + 1) ** -POPULARITY)
    drawn = random.random(offsets[-1]) * popularity[-1]
    items = np.searchsorted(popularity, drawn, side="right")
    # Rows go by training interactions, as `prepare` makes them.
    interactions = -np.sort(-np.bincount(items, minlength=n_items))
    return Dataset(
        path=Path("drawn"),
        summary={},
        catalog=pl.DataFrame({"interactions": interactions}),
        items=items,
        offsets=offsets,
        train_end=offsets[1:],
        valid_end=offsets[1:],
    )


def measure(stage: "Stage", learners: dict[tuple[int, float], "Learner"], steps: int) -> list[Row]:
    """Time each catalog's step of a stage; return one row for each."""
    seconds: dict[tuple[int, float], list[float]] = {which: [] for which in learners}
    for learner in learners.values():
        learner.begin_stage(stage, learner.encoder.state_dict())
    for number in range(WARM_UP + steps):
        # By turns, so that a busy moment of the machine meets both.
        for which, learner in learners.items():
            taken = seconds_of(learner.take_step)
            if number >= WARM_UP:
                seconds[which].append(taken)
    medians = {which: statistics.median(each) for which, each in seconds.items()}
    smallest = min(medians)
    return [
        {
            "stage": stage,
            "items": n_items,
            "neighbours": "on" if neighbours else "off",
            "ms per step": 1e3 * median,
            "ratio": median / medians[smallest],
        }
        for (n_items, neighbours), median in medians.items()
    ]


if __name__ == "__main__":
    main()
