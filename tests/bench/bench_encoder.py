"""What each part of OPAL's encoder costs: the paper's, with a general interest, with attention.

    python tests/bench/bench_encoder.py [--dim D] [--k K] [--quick] [--json]

Processor time for each user, by turns in one thread, of one user alone and of 32 together; the
weights are random, histories are whole. The default recipe has the general interest, and attention
from 10,000 users on.
"""

import argparse
import statistics
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.measuring import Row, Table, make_parser, show, use_one_thread

if TYPE_CHECKING:
    from model.inference.encoder import UserEncoder

N_ITEMS = 5000
K, DIM = 8, 128
LENGTHS = (10, 20, 50, 100)
TOGETHER = (1, 32)
ROUNDS, ROUNDS_QUICK = 15, 2
USERS_OF_ROUND = 64

# Of each encoder: what it has besides the paper's.
PARTS: dict[str, dict[str, float]] = {
    "paper": {},
    "general": {"general": 0.5},
    "attention": {"general": 0.5, "attention": max(LENGTHS)},
}


def main() -> None:
    """Measure and print."""
    options = parse_arguments()
    use_one_thread()
    rounds = ROUNDS_QUICK if options.quick else ROUNDS
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for stage in ("soft", "hard"):
            encoders = load_encoders(Path(folder), stage, options.k, options.dim)
            cases = product(LENGTHS, TOGETHER)
            rows += [measure(encoders, stage, length, users, rounds) for length, users in cases]
    title = f"d = {options.dim}, k = {options.k}; µs of processor time a user, medians"
    show("Encoder", [Table(title, rows)], threads="one thread", options=options)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser("Measure what each part of OPAL's encoder costs.")
    parser.add_argument("--dim", type=int, default=DIM, help=f"d (default: {DIM})")
    parser.add_argument("--k", type=int, default=K, help=f"interests (default: {K})")
    return parser.parse_args()


def load_encoders(folder: Path, stage: str, k: int, dim: int) -> "dict[str, UserEncoder]":
    """Write an encoder of each kind, and load it as the service does."""
    import numpy as np

    from model.inference.loading import ENCODER_FILE, load_encoder
    from tests.bundles import clustered_vectors, write_random_encoder

    encoders: dict[str, UserEncoder] = {}
    for name, parts in PARTS.items():
        random = np.random.default_rng(0)
        vectors, hyper_categories, _ = clustered_vectors(N_ITEMS, dim, k, random)
        path = folder / f"{stage}-{name}"
        path.mkdir()
        write_random_encoder(
            path,
            vectors,
            hyper_categories,
            stage=stage,
            max_len=max(LENGTHS),
            rng=random,
            **parts,
        )
        encoders[name] = load_encoder(path / ENCODER_FILE)
    return encoders


def measure(
    encoders: "dict[str, UserEncoder]", stage: str, length: int, users: int, rounds: int
) -> Row:
    """Time the encoders by turns on the same histories; return a row."""
    import numpy as np

    random = np.random.default_rng(length)
    histories = [random.integers(N_ITEMS, size=length) for _ in range(USERS_OF_ROUND)]
    batches = [histories[begin : begin + users] for begin in range(0, len(histories), users)]
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(rounds + 1):
        for name, encoder in encoders.items():
            begun = time.process_time()
            for batch in batches:
                encoder.encode_batch(batch)
            taken[name].append(1e6 * (time.process_time() - begun) / USERS_OF_ROUND)
    found = {name: statistics.median(each[1:]) for name, each in taken.items()}
    ratio = found["attention"] / found["general"]
    return {"stage": stage, "history": length, "users": users, **found, "attention's ratio": ratio}


if __name__ == "__main__":
    main()
