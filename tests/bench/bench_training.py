"""Training: sequences per second of both stages, against a plain step in the same run.

    python tests/bench/bench_training.py [--quick] [--json]

The log is planted, of MovieLens 100K's size. A step is everything: batch, forward, backward,
optimiser, and in ours the moving average of the weights, which the plain step does not have.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.measuring import Row, Table, parse_options, seconds_of, show, use_one_thread

if TYPE_CHECKING:
    from model.config import TrainingConfig
    from model.dataset import Dataset
    from model.opal import Stage

STEPS, STEPS_QUICK = 60, 2
WARM_UP = 1


def main() -> None:
    """Measure both stages and print them."""
    options = parse_options("Measure OPAL's training against a plain implementation of the step.")
    use_one_thread()
    import torch

    from model.config import TrainingConfig

    torch.set_num_threads(1)
    config = TrainingConfig(k=4, dim=64, max_len=50, batch_size=32 if options.quick else 256)
    with tempfile.TemporaryDirectory() as folder:
        dataset = plant(Path(folder), quick=options.quick)
        steps = STEPS_QUICK if options.quick else STEPS
        rows: list[Row] = []
        for stage in ("soft", "hard"):
            rows += measure(dataset, config, stage, Path(folder), steps)
    title = (
        f"{dataset.n_users} users, {dataset.n_items:,} items, B = {config.batch_size}, L = 50, "
        f"k = 4, d = 64, {steps} steps each, by turns"
    )
    show("Training", [Table(title, rows)], threads="one thread", options=options)


def plant(folder: Path, *, quick: bool) -> "Dataset":
    """Draw and prepare a log: 943 users, 1,617 items, 85 interactions each."""
    from model.dataset import Dataset, prepare
    from tests.planted import PlantedLog

    log = PlantedLog(
        n_users=60 if quick else 943, n_categories=11, items_per_category=147, liked=3, length=85
    )
    interactions, _ = log.write(folder)
    prepare(interactions, folder / "dataset")
    return Dataset.open(folder / "dataset")


def measure(
    dataset: "Dataset", config: "TrainingConfig", stage: "Stage", folder: Path, steps: int
) -> list[Row]:
    """Time the step of a stage in ours and in the plain ones; return one row for each."""
    contestants = make_contestants(dataset, config, stage, folder)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(WARM_UP + steps):
        # By turns, so that a busy moment of the machine meets all of them.
        for name, step in contestants.items():
            taken = seconds_of(step)
            if number >= WARM_UP:
                seconds[name].append(taken)
    speed = {name: config.batch_size / statistics.median(each) for name, each in seconds.items()}
    return [
        {
            "stage": stage,
            "step": name,
            "sequences/s": round(value),
            "ms per step": 1e3 * config.batch_size / value,
            "ratio to plain": value / speed["plain"],
        }
        for name, value in speed.items()
    ]


def make_contestants(
    dataset: "Dataset", config: "TrainingConfig", stage: "Stage", folder: Path
) -> dict[str, Callable[[], object]]:
    """Return the steps to time, by name. All begin with the same weights."""
    import copy

    from model.training import Training
    from tests.bench.plain_training import PlainTraining

    ours = Training(dataset, config, folder)
    ours.stage = stage
    encoder = copy.deepcopy(ours.encoder)
    plain = PlainTraining(dataset, config, encoder)
    # The step itself: `run` would validate in between.
    contestants: dict[str, Callable[[], object]] = {
        "ours": ours._train_step,
        "plain": lambda: plain.step(stage),
    }
    if stage == "soft":
        lean = PlainTraining(dataset, config, copy.deepcopy(encoder), gru_in_soft_stage=False)
        contestants["plain, without the GRU that this stage does not use"] = lambda: lean.step(
            stage
        )
    return contestants


if __name__ == "__main__":
    main()
