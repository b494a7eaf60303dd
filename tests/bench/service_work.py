"""What ``bench_service`` serves and asks: one bundle, its registry, and requests as JSON."""

import json
from pathlib import Path
from typing import NamedTuple

K = 8


class Work(NamedTuple):
    """What the servers serve, and what they are asked.

    Attributes:
        folder: Holds ``registry`` and ``answer.json``.
        bundle: The bundle's folder.
        bodies: Requests, all different.
        hits: The few that are answered from the cache.
    """

    folder: Path
    bundle: Path
    bodies: list[str]
    hits: list[str]


def prepare_work(folder: Path, *, n_items: int, n_bodies: int, n_hits: int) -> Work:
    """Make bundle, registry, requests, and the bytes that the bare endpoint returns."""
    from index.registry import Registry
    from tests.bench.synthetic import TOP_K, draw_histories, make_bundle, to_ids

    bundle = make_bundle(folder, n_items=n_items, k=K)
    Registry(folder / "registry").publish(bundle)
    histories = draw_histories(n_bodies, n_items=n_items, k=K)
    bodies = [json.dumps({"interactions": to_ids(rows), "top_k": TOP_K}) for rows in histories]
    (folder / "answer.json").write_bytes(answer_of(bundle, to_ids(histories[0])))
    return Work(folder, bundle, bodies, bodies[:n_hits])


def answer_of(bundle: Path, item_ids: list[str]) -> bytes:
    """Return an answer as the service sends it, as bytes."""
    import orjson

    from index.bundle import open_bundle
    from service.matching import match
    from service.query import Query

    stored = match(open_bundle(bundle), Query(history=tuple(item_ids))).stored
    return orjson.dumps({"request_id": "0" * 32, "source": "model", **orjson.loads(stored)})
