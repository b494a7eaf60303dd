"""Retrieval for one user, and the encoder for one and for many, against a plain version.

    python tests/bench/bench_match.py [--quick] [--json]

Both answer the same users from the same bundle by turns: encode, search, merge and filter, and all
of it. Recall is against all scores in double precision. The index is what `index build` chooses.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.measuring import (
    Row,
    Table,
    parse_options,
    seconds_of,
    show,
    summarise,
    use_one_thread,
)

if TYPE_CHECKING:
    from index.bundles.bundle import Bundle
    from model.inference.encoder import UserEncoder
    from tests.bench.plain_match import PlainMatcher
    from tests.bench.synthetic import Rows

USERS, USERS_QUICK = 300, 10
WARM_UP = 5
CATALOGS, CATALOGS_QUICK = (1617, 20_000), (500,)
INTERESTS, INTERESTS_QUICK = (4, 8), (4,)
PARTS = ("encode", "search", "merge + filter", "match")
DIMS, DIMS_QUICK = (64, 128), (64,)
TOGETHER = (1, 32)
BATCHES, BATCHES_QUICK = 100, 5


def main() -> None:
    """Measure every catalog and k and print the times."""
    options = parse_options("Measure retrieval for one user against a plain implementation.")
    use_one_thread()
    import faiss
    import torch

    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    n_users = USERS_QUICK if options.quick else USERS
    n_batches = BATCHES_QUICK if options.quick else BATCHES
    rows: list[Row] = []
    encoding: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for n_items in CATALOGS_QUICK if options.quick else CATALOGS:
            for k in INTERESTS_QUICK if options.quick else INTERESTS:
                rows += measure(Path(folder), n_items=n_items, k=k, n_users=n_users)
        for dim in DIMS_QUICK if options.quick else DIMS:
            encoding += measure_encoding(Path(folder), dim=dim, n_batches=n_batches)
    titles = (
        f"{n_users} users, one at a time, L = 50, d = 64, top 100, hard stage; milliseconds; "
        "ratio = plain / ours, of medians",
        f"Encoder alone, {n_batches} batches, L = 50, k = 8, hard stage; milliseconds a batch; "
        "ratio = plain / ours, of medians",
    )
    tables = [Table(title, each) for title, each in zip(titles, (rows, encoding), strict=True)]
    show("Match", tables, threads="one thread", options=options)


def measure(folder: Path, *, n_items: int, k: int, n_users: int) -> list[Row]:
    """Time ours and the plain one on one catalog; return one row for each part."""
    from index.bundles.bundle import open_bundle
    from tests.bench.plain_match import PlainMatcher
    from tests.bench.synthetic import draw_histories, make_bundle

    path = make_bundle(folder, n_items=n_items, k=k)
    bundle, plain = open_bundle(path), PlainMatcher(path)
    histories = draw_histories(WARM_UP + n_users, n_items=n_items, k=k)
    seconds: dict[str, list[float]] = {}
    recalls: dict[str, list[float]] = {"ours": [], "plain": []}
    for number, history in enumerate(histories):
        calls = ours_parts(bundle, history) | plain_parts(plain, history)
        taken = {name: seconds_of(call) for name, call in calls.items()}
        if number < WARM_UP:
            continue
        for name, value in taken.items():
            seconds.setdefault(name, []).append(value)
        for name, value in recall(bundle, plain, history).items():
            recalls[name].append(value)
    times = {name: summarise(each) for name, each in seconds.items()}
    return [
        {
            "items": n_items,
            "k": k,
            "part": part,
            "ours median": times[f"ours {part}"].median,
            "ours p99": times[f"ours {part}"].p99,
            "plain median": times[f"plain {part}"].median,
            "plain p99": times[f"plain {part}"].p99,
            "ratio": times[f"plain {part}"].median / times[f"ours {part}"].median,
            "ours recall@100": sum(recalls["ours"]) / n_users,
            "plain recall@100": sum(recalls["plain"]) / n_users,
        }
        for part in PARTS
    ]


def measure_encoding(folder: Path, *, dim: int, n_batches: int) -> list[Row]:
    """Time the encoders on batches of one and of many users; return one row for each size."""
    from index.bundles.bundle import open_bundle
    from tests.bench.plain_match import PlainMatcher
    from tests.bench.synthetic import draw_histories, make_bundle

    n_items, k = 2000, 8
    path = make_bundle(folder, n_items=n_items, k=k, dim=dim)
    encoder, plain = open_bundle(path).encoder, PlainMatcher(path)
    result: list[Row] = []
    for size in TOGETHER:
        histories = draw_histories(size * (WARM_UP + n_batches), n_items=n_items, k=k)
        seconds: dict[str, list[float]] = {}
        for begin in range(0, len(histories), size):
            batch = histories[begin : begin + size]
            lists = [history.tolist() for history in batch]
            calls: dict[str, Callable[[], object]] = {
                "ours": partial(encoder.encode_batch, batch),
                "one by one": partial(encode_singly, encoder, batch),
                "plain": partial(plain.encode_batch, lists),
            }
            for name, call in calls.items():
                seconds.setdefault(name, []).append(seconds_of(call))
        times = {name: summarise(each[WARM_UP:]) for name, each in seconds.items()}
        result.append(
            {
                "d": dim,
                "users": size,
                "ours median": times["ours"].median,
                "ours p99": times["ours"].p99,
                "one by one median": times["one by one"].median,
                "plain median": times["plain"].median,
                "plain p99": times["plain"].p99,
                "ratio": times["plain"].median / times["ours"].median,
            }
        )
    return result


def encode_singly(encoder: "UserEncoder", histories: list["Rows"]) -> None:
    """Encode histories in a call each."""
    for history in histories:
        encoder.encode(history)


def ours_parts(bundle: "Bundle", history: "Rows") -> dict[str, Callable[[], object]]:
    """Return our calls for one user, by part; what a part needs is made before."""
    import numpy as np

    from index.search.merging import merge_interests
    from service.answering.matching import match
    from service.api.query import Query
    from tests.bench.synthetic import TOP_K, to_ids

    interests = bundle.encoder.encode(history).vectors
    fetch = TOP_K + len(history) + 1  # as index.search.retrieval does
    found = bundle.item_index.search(interests, fetch)
    query = Query(history=tuple(to_ids(history)), top_k=TOP_K)

    def merge_and_filter() -> object:
        merged = merge_interests(found)
        return merged.take(np.flatnonzero(~np.isin(merged.rows, history))).take(slice(TOP_K))

    return {
        "ours encode": lambda: bundle.encoder.encode(history),
        "ours search": lambda: bundle.item_index.search(interests, fetch),
        "ours merge + filter": merge_and_filter,
        "ours match": lambda: match(bundle, query),
    }


def plain_parts(plain: "PlainMatcher", history: "Rows") -> dict[str, Callable[[], object]]:
    """Return the plain calls for one user, by part."""
    from tests.bench.synthetic import TOP_K, to_ids

    rows, item_ids = history.tolist(), to_ids(history)
    interests = plain.encode(rows)
    found = plain.search(interests, TOP_K + len(rows))
    return {
        "plain encode": lambda: plain.encode(rows),
        "plain search": lambda: plain.search(interests, TOP_K + len(rows)),
        "plain merge + filter": lambda: plain.merge(*found, rows, TOP_K),
        "plain match": lambda: plain.match(item_ids, TOP_K),
    }


def recall(bundle: "Bundle", plain: "PlainMatcher", history: "Rows") -> dict[str, float]:
    """Return the share of the exact top 100 that each finds."""
    import numpy as np
    import orjson

    from service.answering.matching import match
    from service.api.query import Query
    from tests.bench.synthetic import TOP_K, to_ids

    interests = bundle.encoder.encode(history).vectors.astype(np.float64)
    scores = (bundle.encoder.item_vectors.astype(np.float64) @ interests.T).max(axis=1)
    scores[history] = -np.inf
    exact = set(bundle.catalog.ids_of(np.argsort(-scores, kind="stable")[:TOP_K]))
    item_ids = to_ids(history)
    answer = orjson.loads(match(bundle, Query(history=tuple(item_ids), top_k=TOP_K)).stored)
    ours = {candidate["item_id"] for candidate in answer["candidates"]}
    theirs = {candidate.item_id for candidate in plain.match(item_ids, TOP_K)}
    return {"ours": len(ours & exact) / TOP_K, "plain": len(theirs & exact) / TOP_K}


if __name__ == "__main__":
    main()
