"""Bundles with the structure of learned embeddings, and real histories to ask them with.

Items are those of ``learned_catalog``. Hyper-categories are found as training finds them where it
starts. The weights of the GRU and of attention are random, so their share of an interest is small
(γ, λ): both run in full, and interests stay what they are for trained encoders, means of parts of a
history. What an approximate index finds for such interests is a fair choice of index and of
operating point.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from index.bundles.build import build_bundle
from model.arrays import Floats, Rows
from model.data.cooccurrence import cluster_directions, pmi_vectors
from model.data.dataset import Dataset
from model.run import HISTORIES_FILE
from tests.bench.learned_catalog import DIM, Expanded, expand
from tests.bench.synthetic import MAX_LEN
from tests.bundles import write_random_encoder, write_run

EVOLUTION = 0.02
GENERAL = 0.02
_BUILD_THREADS = 2
_TUNING_HISTORIES = 300  # for the build: probes, and what the index is tuned on


class LearnedBundle(NamedTuple):
    """A bundle, and what users of it have done.

    Attributes:
        path: Its folder.
        histories: Of users other than those the index was tuned on. Each of shape (50,), int64.
    """

    path: Path
    histories: list[Rows]


def make_learned_bundle(
    folder: Path, dataset_path: Path, *, n_items: int, k: int, n_histories: int, seed: int = 0
) -> LearnedBundle:
    """Build a bundle whose index ``auto`` chooses.

    Args:
        folder: Where run and bundle go.
        dataset_path: What ``python -m model prepare`` wrote.
        n_items: Items in the catalog.
        k: Interests per user.
        n_histories: Histories wanted.
        seed: Of all that is drawn; another one gives another bundle of the same items.
    """
    dataset, rng = Dataset.open(dataset_path), np.random.default_rng(seed)
    known = _item_vectors(dataset)
    items = expand(known, n_items, np.random.default_rng(0))
    histories = _draw_histories(dataset, items, n_histories + _TUNING_HISTORIES, rng)
    name = f"{n_items}-{k}-{seed}"
    run = write_run(
        folder / f"run-{name}", n_items=n_items, k=k, dim=DIM, stage="hard", max_len=MAX_LEN
    )
    write_random_encoder(
        run,
        items.vectors,
        cluster_directions(known, k, np.random.default_rng(0)),
        stage="hard",
        max_len=MAX_LEN,
        rng=rng,
        evolution=EVOLUTION,
        general=GENERAL,
        attention=MAX_LEN,
    )
    tuning = pl.Series(
        "history", [each.tolist() for each in histories[n_histories:]], dtype=pl.List(pl.Int32)
    )
    tuning.to_frame().write_parquet(run / HISTORIES_FILE)
    built = build_bundle(run, folder / f"bundle-{name}", kind="auto", threads=_BUILD_THREADS)
    return LearnedBundle(built.path, histories[:n_histories])


def _item_vectors(dataset: Dataset) -> Floats:
    return pmi_vectors(
        dataset.items,
        dataset.offsets[:-1],
        dataset.train_end,
        n_items=dataset.n_items,
        dim=DIM,
        random=np.random.default_rng(0),
    )


def _draw_histories(
    dataset: Dataset, items: Expanded, n_histories: int, rng: np.random.Generator
) -> list[Rows]:
    """Draw pieces of real histories, each item replaced by one of the catalog that is like it.

    Users with enough interactions are taken; where a log has none, several users' are joined.
    """
    begins, ends = dataset.offsets[:-1], dataset.train_end
    long_enough = np.flatnonzero(ends - begins >= MAX_LEN)
    users = long_enough if len(long_enough) else np.flatnonzero(ends > begins)
    by_origin = np.argsort(items.origins, kind="stable")
    n_like = np.bincount(items.origins, minlength=dataset.n_items)
    first_like = n_like.cumsum() - n_like
    histories = []
    for _ in range(n_histories):
        rows = np.empty(0, dtype=np.int64)
        while len(rows) < MAX_LEN:
            user = rng.choice(users)
            theirs = dataset.items[begins[user] : ends[user]].astype(np.int64)
            theirs = theirs[n_like[theirs] > 0]  # a small catalog has not all items
            start = rng.integers(max(1, len(theirs) - MAX_LEN + 1))
            rows = np.concatenate((rows, theirs[start : start + MAX_LEN - len(rows)]))
        chosen = first_like[rows] + rng.integers(n_like[rows])
        histories.append(by_origin[chosen])
    return histories
