"""What every peer computes with: the plain core, or ours, as the environment says.

A peer passes batches of parsed requests and gets answers in their order: dicts of the plain core,
which the framework turns into JSON its own way; of our core, the JSON as bytes.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BUNDLE_VARIABLE = "BENCH_BUNDLE"
CORE_VARIABLE = "BENCH_CORE"
PLAIN, OURS = "plain", "ours"

MAX_BATCH = 32
WORKERS = 2

Request = dict[str, Any]
Answer = dict[str, Any] | bytes


def load_core() -> Callable[[Sequence[Request]], list[Answer]]:
    """Return what answers requests, ``interactions`` and ``top_k``, together; with one thread."""
    import faiss

    faiss.omp_set_num_threads(1)
    bundle = Path(os.environ[BUNDLE_VARIABLE])
    return _load_ours(bundle) if os.environ.get(CORE_VARIABLE) == OURS else _load_plain(bundle)


def to_json(answer: Answer) -> bytes:
    """Return an answer as JSON."""
    import orjson

    return answer if isinstance(answer, bytes) else orjson.dumps(answer)


def _load_plain(bundle: Path) -> Callable[[Sequence[Request]], list[Answer]]:
    import torch

    from tests.bench.plain_core import PlainCore

    torch.set_num_threads(1)
    core = PlainCore(bundle)

    def answer(requests: Sequence[Request]) -> list[Answer]:
        # One search for all, so for as many as the most demanding of them wants.
        most = max(request["top_k"] for request in requests)
        answers = core.answers([request["interactions"] for request in requests], most)
        for request, each in zip(requests, answers, strict=True):
            del each["candidates"][request["top_k"] :]
        return list(answers)

    return answer


def _load_ours(bundle: Path) -> Callable[[Sequence[Request]], list[Answer]]:
    from index.bundles.bundle import open_bundle
    from service.api.query import Query
    from tests.bench.our_core import answers

    opened = open_bundle(bundle)

    def answer(requests: Sequence[Request]) -> list[Answer]:
        queries = [
            Query(history=tuple(request["interactions"]), top_k=request["top_k"])
            for request in requests
        ]
        return list(answers(opened, queries))

    return answer
