"""Retrieval as it is written first: the yardstick of ``bench_match`` and ``bench_service``.

An eager torch forward, one Faiss Flat call, a Python dict to merge.
"""

import json
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from index.bundles.catalog import Catalog
from model.data.histories import PADDING
from model.inference.loading import ENCODER_FILE
from model.opal import OpalEncoder

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class PlainCandidate(NamedTuple):
    """One retrieved item."""

    item_id: str
    title: str | None
    score: float
    rank: int
    interest: int


class PlainMatcher:
    """Encodes, searches and merges for one user.

    Args:
        bundle: The bundle's folder; its index is Flat.
    """

    def __init__(self, bundle: Path) -> None:
        self._encoder, self._max_len = load_torch_encoder(bundle / ENCODER_FILE)
        self._index = faiss.read_index(str(bundle / "index.faiss"))
        catalog = Catalog(bundle)
        rows = np.arange(catalog.n_items)
        self._ids, self._titles = catalog.ids_of(rows), catalog.titles_of(rows)
        self._row_of = {item_id: row for row, item_id in enumerate(self._ids)}

    def match(self, item_ids: list[str], top_k: int) -> list[PlainCandidate]:
        """Return the best items for a history of item ids, oldest first."""
        history = [self._row_of[item_id] for item_id in item_ids if item_id in self._row_of]
        scores, rows = self.search(self.encode(history), top_k + len(history))
        ranked = self.merge(scores, rows, history, top_k)
        return [
            PlainCandidate(self._ids[row], self._titles[row], score, rank, interest)
            for rank, (row, score, interest) in enumerate(ranked, start=1)
        ]

    def encode(self, history: list[int]) -> Floats:
        """Encode item rows, oldest first, as interests. Shape (k, d), float32."""
        [interests] = self.encode_batch([history])
        return interests

    @torch.inference_mode()
    def encode_batch(self, histories: list[list[int]]) -> list[Floats]:
        """Encode histories, padded to one length, together; each of shape (k, d), float32."""
        cut = [history[-self._max_len :] for history in histories]
        longest = max(len(history) for history in cut)
        padded = [history + [PADDING] * (longest - len(history)) for history in cut]
        return list(self._encoder(torch.tensor(padded), "hard").interests.numpy())

    def search(self, interests: Floats, n: int) -> tuple[Floats, Rows]:
        """Find n items for each interest: scores and rows, each of shape (k, n)."""
        scores, rows = self._index.search(interests, n)
        return scores, rows

    def merge(
        self, scores: Floats, rows: Rows, history: list[int], top_k: int
    ) -> list[tuple[int, float, int]]:
        """Keep each item's best score, leave out the history: (row, score, interest)."""
        seen = set(history)
        best: dict[int, tuple[float, int]] = {}
        lists = zip(scores.tolist(), rows.tolist(), strict=True)
        for interest, (its_scores, its_rows) in enumerate(lists):
            for score, row in zip(its_scores, its_rows, strict=True):
                if row >= 0 and row not in seen and (row not in best or score > best[row][0]):
                    best[row] = (score, interest)
        ranked = sorted(best.items(), key=lambda entry: (-entry[1][0], entry[0]))[:top_k]
        return [(row, score, interest) for row, (score, interest) in ranked]


def load_torch_encoder(path: Path) -> tuple[OpalEncoder, int]:
    """Load an encoder of the hard stage into torch; return it with its L."""
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["encoder"])
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    n_items, dim = tensors["item_embedding"].shape
    encoder = OpalEncoder(
        n_items=n_items,
        n_interests=len(tensors["hyper_category"]),
        dim=dim,
        temperature=config["temperature"],
    )
    names = {
        "item_embedding": "item_table",
        "hyper_category": "hyper_table",
        "gru.weight_ih": "gru.weight_ih_l0",
        "gru.weight_hh": "gru.weight_hh_l0",
    }
    # What the file does not hold (terms that the paper does not have) stays as it is by default.
    weights = {names.get(name, name): each for name, each in tensors.items()}
    encoder.load_state_dict(encoder.state_dict() | weights)
    return encoder.eval(), config["max_len"]
