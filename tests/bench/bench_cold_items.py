"""Cold items: what vectors made of others' do to the answers, beside those that training made.

    python tests/bench/bench_cold_items.py [--run RUN --dataset DATASET] [--quick] [--json]

A tenth of the items of a trained run lose their vectors and get them back from what is known: from
their categories, or from the three items nearest to them, as an editor could name them. Each is
tried at unit length and as ``index add-items`` does it. Recall is over test users, by the maximum
over interests, the history left out. Without a run, one is trained on MovieLens 100K (a minute).
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.measuring import Row, Table, make_parser, show, use_one_thread

if TYPE_CHECKING:
    from model.arrays import Floats, Rows

TOP = 100
NAMED = 3
USERS = 2000
TUNING_USERS = 100
STEPS, STEPS_QUICK = 600, 10


class Trained(NamedTuple):
    """A run and the users to measure it on.

    Attributes:
        item_vectors: Shape (n_items, d), float32.
        hyper_categories: Shape (k, d), float32.
        categories: Of each item.
        interests: Of test users. Shape (u, k, d), float32.
        histories: Theirs.
        targets: Theirs.
    """

    item_vectors: "Floats"
    hyper_categories: "Floats"
    categories: list[list[str]]
    interests: "Floats"
    histories: Sequence["Rows"]
    targets: Sequence["Rows"]


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    use_one_thread()
    with tempfile.TemporaryDirectory() as folder:
        run, dataset = options.run, options.dataset
        if run is None or dataset is None:
            run, dataset = train(Path(folder), quick=options.quick)
        trained = open_run(run, dataset)
    rows = measure(trained)
    title = f"{len(trained.item_vectors):,} items, {len(trained.histories):,} users, top {TOP}"
    show("Cold items", [Table(title, rows)], threads="one thread", options=options)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser("Measure what items without a trained vector do to the answers.")
    parser.add_argument("--run", type=Path, help="what `python -m model train` left")
    parser.add_argument("--dataset", type=Path, help="what it was trained on")
    return parser.parse_args()


def train(folder: Path, *, quick: bool) -> tuple[Path, Path]:
    """Train for a few steps; return the run and its data set."""
    from model.config.training_config import TrainingConfig
    from model.data.dataset import prepare
    from model.data.movielens import write_movielens
    from model.training.fit import fit
    from tests.planted import PlantedLog

    if quick:
        log = PlantedLog(n_users=60, n_categories=8, items_per_category=40, liked=3, length=40)
        interactions, items = log.write(folder)
    else:
        write_movielens(folder / "log")
        interactions, items = (folder / "log" / f"{each}.csv" for each in ("interactions", "items"))
    prepare(interactions, folder / "dataset", items=items, split="user")
    # What is compared here is made of vectors of unit length.
    config = TrainingConfig(max_steps=STEPS_QUICK if quick else STEPS, popularity=0.0)
    fit(folder / "dataset", folder / "run", config, yardsticks=())
    return folder / "run", folder / "dataset"


def open_run(run_path: Path, dataset_path: Path) -> Trained:
    """Encode the test users of a run."""
    import numpy as np

    from model.data.dataset import Dataset
    from model.inference.loading import load_encoder
    from model.run import read_run
    from tests.bundles import hyper_categories_of

    run, dataset = read_run(run_path), Dataset.open(dataset_path)
    encoder = load_encoder(run.encoder_path)
    histories, targets = dataset.test.histories[:USERS], dataset.test.targets[:USERS]
    return Trained(
        np.array(encoder.item_vectors),
        np.array(hyper_categories_of(encoder)),
        run.items["category"].to_list(),
        np.stack([each.vectors for each in encoder.encode_batch(histories)]),
        histories,
        targets,
    )


def measure(trained: Trained) -> list[Row]:
    """Make a tenth of the items cold in each way; return one row for each."""
    import numpy as np

    from index.renewal.cold_items import mean_vectors, pulled, stretched

    vectors, n_items = trained.item_vectors, len(trained.item_vectors)
    drawn = np.random.default_rng(0).permutation(n_items)[: n_items // 10]
    cold = np.array([row for row in drawn.tolist() if trained.categories[row]])
    warm = np.setdiff1d(np.arange(n_items), cold)
    members: dict[str, list[int]] = {}
    for row in warm.tolist():
        for name in trained.categories[row]:
            members.setdefault(name, []).append(row)
    by_category = [
        np.array(
            [row for name in trained.categories[item] for row in members.get(name, [])] or warm
        )
        for item in cold.tolist()
    ]
    named = [warm[np.argsort(-(vectors[warm] @ vectors[item]))[:NAMED]] for item in cold.tolist()]
    best = np.stack([(user @ vectors[warm].T).max(axis=0) for user in trained.interests])
    cuts = -np.sort(-best, axis=1)[:TUNING_USERS, min(TOP, len(warm)) - 1]

    def ours(groups: list["Rows"], may_stretch: bool) -> "Floats":
        return stretched(
            pulled(mean_vectors(vectors, groups), trained.hyper_categories),
            np.full(len(cold), may_stretch),
            trained.interests[:TUNING_USERS],
            cuts,
            share=len(cold) / n_items,
            top=TOP,
        )

    def unit(groups: list["Rows"]) -> "Floats":
        means = pulled(mean_vectors(vectors, groups), trained.hyper_categories)
        scaled: Floats = means / np.linalg.norm(means, axis=1, keepdims=True)
        return scaled

    ways: dict[str, Callable[[], Floats]] = {
        "trained": lambda: vectors[cold],
        "of categories, unit length": lambda: unit(by_category),
        "of categories, as add-items does": lambda: ours(by_category, may_stretch=True),
        "of named items, unit length": lambda: unit(named),
        "of named items, as add-items does": lambda: ours(named, may_stretch=False),
    }
    return [row_of(name, trained, cold, make()) for name, make in ways.items()]


def row_of(name: str, trained: Trained, cold: "Rows", of_cold: "Floats") -> Row:
    """Answer all users with these vectors for the cold items."""
    import numpy as np

    vectors = trained.item_vectors.copy()
    vectors[cold] = of_cold
    is_cold = np.isin(np.arange(len(vectors)), cold)
    shares, recalls, of_cold_targets = [], [], []
    for user, history, target in zip(
        trained.interests, trained.histories, trained.targets, strict=True
    ):
        scores = (user @ vectors.T).max(axis=0)
        scores[history] = -np.inf
        answer = np.argpartition(-scores, min(TOP, len(scores) - 1))[:TOP]
        shares.append(is_cold[answer].mean())
        hits = np.isin(target, answer)
        recalls.append(hits.mean())
        if is_cold[target].any():
            of_cold_targets.append(hits[is_cold[target]].mean())
    return {
        "vectors of a tenth of the items": name,
        "their share of the answers": float(np.mean(shares)),
        "recall@100": float(np.mean(recalls)),
        "recall@100 of cold targets": float(np.mean(of_cold_targets)) if of_cold_targets else 0.0,
    }


if __name__ == "__main__":
    main()
