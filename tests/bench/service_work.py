"""What ``bench_service`` serves and asks: a bundle, its registry, and requests as JSON."""

import json
from pathlib import Path
from typing import NamedTuple

K = 8


class Work(NamedTuple):
    """What the servers serve, and what they are asked.

    Attributes:
        folder: Holds ``registry`` and ``answer.json``.
        dataset: The log that the structure comes from.
        bundle: The bundle's folder.
        bodies: Requests, all different.
        hits: The few that are answered from the cache of a worker.
    """

    folder: Path
    dataset: Path
    bundle: Path
    bodies: list[str]
    hits: list[str]

    @property
    def registry(self) -> Path:
        """Where the bundle is live."""
        return self.folder / "registry"

    @property
    def answer(self) -> Path:
        """A file with the bytes of one of the service's answers."""
        return self.folder / "answer.json"


def prepare_work(
    folder: Path, dataset: Path, *, n_items: int, n_bodies: int, n_hits: int, seed: int = 0
) -> Work:
    """Make bundle, registry, requests, and the bytes that the bare endpoint returns.

    Args:
        folder: Where all of it goes.
        dataset: What ``python -m model prepare`` wrote.
        n_items: Items in the catalog.
        n_bodies: Requests wanted.
        n_hits: Requests that are to come from the cache.
        seed: Of the histories.
    """
    from index.registry.registry import Registry
    from tests.bench.learned_bundle import make_learned_bundle
    from tests.bench.synthetic import TOP_K, to_ids

    folder.mkdir(parents=True, exist_ok=True)
    made = make_learned_bundle(
        folder, dataset, n_items=n_items, k=K, n_histories=n_bodies, seed=seed
    )
    work = Work(
        folder,
        dataset,
        made.path,
        [json.dumps({"interactions": to_ids(rows), "top_k": TOP_K}) for rows in made.histories],
        [],
    )
    Registry(work.registry).publish(made.path)
    work.answer.write_bytes(answer_of(made.path, work.bodies[0]))
    return work._replace(hits=work.bodies[:n_hits])


def answer_of(bundle: Path, body: str) -> bytes:
    """Return an answer as the service sends it, as bytes."""
    import orjson

    from index.bundles.bundle import open_bundle
    from service.api.query import Query
    from tests.bench.our_core import answers

    request = json.loads(body)
    query = Query(history=tuple(request["interactions"]), top_k=request["top_k"])
    [answer] = answers(open_bundle(bundle), [query])
    return orjson.dumps({"request_id": "0" * 32, "source": "model"})[:-1] + b"," + answer[1:]
