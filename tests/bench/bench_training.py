"""Training: sequences per second of both stages, against a plain step in the same run.

    python tests/bench/bench_training.py [--dataset DATASET] [--threads N] [--quick] [--json]

The log is a prepared data set, or else a planted one of MovieLens 100K's size. A step is
everything: batch, forward, backward, optimiser, and in ours the moving average of the weights,
which the plain step does not have.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.measuring import Row, Table, make_parser, seconds_of, show, use_one_thread

if TYPE_CHECKING:
    from model.config.training_config import TrainingConfig
    from model.data.dataset import Dataset
    from model.encoder import Stage

MAX_LEN = 50
STEPS, STEPS_QUICK = 60, 2
WARM_UP = 1


def main() -> None:
    """Measure both stages and print them."""
    options = parse_arguments()
    use_one_thread()
    import torch

    from model.config.training_config import TrainingConfig
    from model.data.dataset import Dataset
    from model.runtime.memory import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()  # the command `train` does so too; the plain steps gain as well
    config = TrainingConfig.for_recipe(
        "paper",
        {"k": 4, "dim": 64, "max_len": MAX_LEN, "batch_size": 32 if options.quick else 256},
    )
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        path = options.dataset or plant(scratch, quick=options.quick)
        dataset = Dataset.open(path)
        steps = STEPS_QUICK if options.quick else STEPS
        rows: list[Row] = []
        for stage in ("soft", "hard"):
            contestants = make_contestants(dataset, config, stage, options.threads)
            rows += measure(stage, contestants, config.batch_size, steps)
    title = (
        f"{path.name if options.dataset else 'planted'}: {dataset.n_users:,} users, "
        f"{dataset.n_items:,} items, B = {config.batch_size}, L = {MAX_LEN}, k = 4, d = 64, "
        f"{steps} steps each, by turns"
    )
    show("Training", [Table(title, rows)], threads="one thread if not said", options=options)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser("Measure OPAL's training against a plain implementation of the step.")
    parser.add_argument("--dataset", type=Path, help="what `python -m model prepare` wrote")
    parser.add_argument(
        "--threads", type=int, default=1, help="measure ours on so many threads besides (1: do not)"
    )
    return parser.parse_args()


def plant(folder: Path, *, quick: bool) -> Path:
    """Draw and prepare a log: 943 users, 1,617 items, 85 interactions each."""
    from model.data.dataset import prepare
    from tests.planted import PlantedLog

    log = PlantedLog(
        n_users=60 if quick else 943, n_categories=11, items_per_category=147, liked=3, length=85
    )
    interactions, _ = log.write(folder)
    prepare(interactions, folder / "dataset")
    return folder / "dataset"


def measure(
    stage: "Stage", contestants: dict[str, Callable[[], object]], batch_size: int, steps: int
) -> list[Row]:
    """Time each contestant's step of a stage; return one row for each."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(WARM_UP + steps):
        # By turns, so that a busy moment of the machine meets all of them.
        for name, step in contestants.items():
            taken = seconds_of(step)
            if number >= WARM_UP:
                seconds[name].append(taken)
    speed = {name: batch_size / statistics.median(each) for name, each in seconds.items()}
    return [
        {
            "stage": stage,
            "step": name,
            "sequences/s": round(value),
            "ms per step": 1e3 * batch_size / value,
            "ratio to plain": value / speed["plain"],
        }
        for name, value in speed.items()
    ]


def make_contestants(
    dataset: "Dataset", config: "TrainingConfig", stage: "Stage", threads: int
) -> dict[str, Callable[[], object]]:
    """Return the steps to time, by name. All begin with the same weights."""
    import copy

    import torch

    from model.runtime.runtime import Runtime
    from model.training.learner import Learner
    from tests.bench.plain_training import PlainTraining
    from tests.opal import as_opal

    ours, threaded = (Learner(dataset, config, dataset.train_end, Runtime()) for _ in range(2))
    ours.stage = threaded.stage = stage
    encoder = as_opal(copy.deepcopy(ours.encoder))
    plain = PlainTraining(dataset, config, encoder, max_len=MAX_LEN)

    def step_on_threads() -> None:
        torch.set_num_threads(threads)
        threaded.take_step()
        torch.set_num_threads(1)

    contestants: dict[str, Callable[[], object]] = {
        "ours": ours.take_step,
        "plain": lambda: plain.step(stage),
    }
    if threads > 1:
        contestants[f"ours, {threads} threads"] = step_on_threads
    if stage == "soft":
        lean = PlainTraining(
            dataset, config, copy.deepcopy(encoder), max_len=MAX_LEN, gru_in_soft_stage=False
        )
        contestants["plain, without the GRU that this stage does not use"] = lambda: lean.step(
            stage
        )
    return contestants


if __name__ == "__main__":
    main()
