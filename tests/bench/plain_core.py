"""The plain core: what a team writes for a batch of users with torch, Faiss and NumPy.

One torch forward with a packed GRU, one call of a Faiss Flat index, a vectorised merge, a dict for
each answer. The yardstick of the service's benchmarks, alone and inside of other servers.

It answers what the service answers, but for each interest's strongest items. It knows no filters,
no takedowns, and no popular items for a user of whom nothing is known.
"""

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from index.bundles.catalog import Catalog
from index.bundles.manifest import MANIFEST_FILE
from model.arrays import Floats, Rows
from model.inference.loading import ENCODER_FILE

DECIMALS = 6

Answer = dict[str, Any]


class PlainEncoder(nn.Module):
    """OPAL's hard stage on padded histories; the GRU runs over packed sub-sequences.

    The general interest is that of the default recipe where users are many, with self-attention
    beside the GRU.

    Args:
        tensors: Of the encoder's file, by name.
        temperature: τ.
        evolution: γ, the share of the evolved interest.
        general: λ, the length of the general interest; 0: there is none.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor],
        *,
        temperature: float,
        evolution: float,
        general: float,
    ) -> None:
        super().__init__()
        vectors = tensors["item_embedding"]
        self.items = nn.Embedding.from_pretrained(vectors)  # type: ignore[no-untyped-call]
        dim = vectors.shape[1]
        self.hyper_categories = nn.Parameter(tensors["hyper_category"])
        self.gru = nn.GRU(dim, dim, bias=False)
        self.head = nn.Linear(dim, dim)
        self.temperature, self.evolution = temperature, evolution
        learned = {
            "weight_ih_l0": tensors["gru.weight_ih"],
            "weight_hh_l0": tensors["gru.weight_hh"],
        }
        self.gru.load_state_dict(learned)
        self.head.load_state_dict(_layer(tensors, "head"))
        self.general = general
        if general:
            self.general_head = nn.Linear(dim, dim)
            self.general_head.load_state_dict(_layer(tensors, "general"))
            self.attention = PlainAttention(tensors)

    def forward(self, histories: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode histories that each hold at least one item.

        Args:
            histories: Item rows, oldest first, any row behind the end. Shape (batch, L), int64.
            lengths: Items of each. Shape (batch,), int64.

        Returns:
            Interests (batch, k, d), their weights (batch, k), interactions of each (batch, k).
        """
        is_item = torch.arange(histories.shape[1]) < lengths[:, None]
        vectors = self.items(histories)
        logits = vectors @ self.hyper_categories.T / self.temperature
        assignment = logits.softmax(-1) * is_item[..., None]
        interests = functional.normalize(assignment.transpose(1, 2) @ vectors, dim=-1)

        # The items of each interest, in their order, are a sequence of their own.
        categories = torch.arange(len(self.hyper_categories))
        is_member = (logits.argmax(-1)[:, None] == categories[:, None]) & is_item[:, None]
        counts = is_member.sum(-1)
        users, _, places = is_member.nonzero(as_tuple=True)
        is_filled = counts > 0
        sequences = vectors[users, places].split(counts[is_filled].tolist())
        _, states = self.gru(pack_sequence(sequences, enforce_sorted=False))
        evolved = self.hyper_categories.repeat(len(histories), 1, 1)
        evolved[is_filled] = functional.normalize(functional.relu(self.head(states[0])), dim=-1)

        if self.general:
            packed = pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
            _, states = self.gru(packed)
            general = functional.normalize(self.general_head(states[0]), dim=-1)
            attended = functional.normalize(self.attention(vectors, lengths), dim=-1)
            general = functional.normalize(general + attended, dim=-1)
            interests = interests + self.general * general[:, None]
        mixed = (1 - self.evolution) * interests + self.evolution * evolved
        weights = assignment.sum(1) / lengths[:, None]
        return functional.normalize(mixed, dim=-1), weights, counts


class PlainAttention(nn.Module):
    """A block of self-attention as torch has it, over items and how far back they lie.

    Args:
        tensors: Of the encoder's file, by name.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        positions, block = tensors["transformer.positions"], "transformer.blocks.0"
        dim = positions.shape[1]
        self.positions = nn.Embedding.from_pretrained(positions)  # type: ignore[no-untyped-call]
        self.layer = nn.TransformerEncoderLayer(
            dim, nhead=1, dim_feedforward=dim, norm_first=True, batch_first=True
        )
        self.norm = nn.LayerNorm(dim)
        self.norm.load_state_dict(_layer(tensors, "transformer.norm"))
        layer = self.layer
        layer.norm1.load_state_dict(_layer(tensors, f"{block}.attention_norm"))
        layer.norm2.load_state_dict(_layer(tensors, f"{block}.network_norm"))
        layer.linear1.load_state_dict(_layer(tensors, f"{block}.network_in"))
        layer.linear2.load_state_dict(_layer(tensors, f"{block}.network_out"))
        attention = {
            "in_proj_weight": tensors[f"{block}.query_key_value.weight"],
            "in_proj_bias": torch.zeros(3 * dim),
            "out_proj.weight": torch.eye(dim),
            "out_proj.bias": torch.zeros(dim),
        }
        layer.self_attn.load_state_dict(attention)

    def forward(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """Return the state at the newest item of each history.

        Args:
            vectors: e_t, oldest first, anything behind the end. Shape (batch, L, d), float32.
            lengths: Items of each. Shape (batch,), int64.

        Returns:
            Shape (batch, d), float32.
        """
        places = torch.arange(vectors.shape[1])
        ages = (lengths[:, None] - 1 - places).clamp(min=0)
        states = vectors * vectors.shape[2] ** 0.5 + self.positions(ages)
        states = self.layer(states, src_key_padding_mask=places >= lengths[:, None])
        newest: Tensor = self.norm(states[torch.arange(len(lengths)), lengths - 1])
        return newest


def _layer(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {part: tensors[f"{name}.{part}"] for part in ("weight", "bias")}


class PlainCore:
    """Answers batches of users from a bundle, with an exact index of its own.

    Args:
        bundle: The bundle's folder.
    """

    def __init__(self, bundle: Path) -> None:
        with safe_open(bundle / ENCODER_FILE, framework="pt") as file:
            config = json.loads(file.metadata()["encoder"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.version: str = json.loads((bundle / MANIFEST_FILE).read_text())["version"]
        self._max_len: int = config["max_len"]
        self._encoder = PlainEncoder(
            tensors,
            temperature=config["temperature"],
            evolution=config.get("evolution", 0.5),
            general=config.get("general", 0.0),
        ).eval()
        assert config.get("general_len") is None, "it reads whole histories"
        assert "item_length" not in tensors, "histories read the vectors that items are scored by"
        vectors = tensors["item_embedding"].numpy()
        self._index = faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(vectors)
        catalog = Catalog(bundle)
        rows = np.arange(catalog.n_items)
        self._ids, self._titles = catalog.ids_of(rows), catalog.titles_of(rows)
        self._row_of = {item_id: row for row, item_id in enumerate(self._ids)}

    def answers(self, histories: list[list[str]], top_k: int) -> list[Answer]:
        """Answer users together.

        Args:
            histories: Item ids, oldest first; at least one of each is known.
            top_k: Candidates wanted.
        """
        known = [[self._row_of[each] for each in ids if each in self._row_of] for ids in histories]
        interests, weights, counts = self._encode(known)
        n_users, k, dim = interests.shape
        wanted = top_k + max(map(len, known))
        scores, rows = self._index.search(interests.reshape(-1, dim), wanted)
        scores, rows = scores.reshape(n_users, k * wanted), rows.reshape(n_users, k * wanted)
        of_interest = np.repeat(np.arange(k), wanted)
        return [
            {
                "bundle_version": self.version,
                "unknown_items": len(histories[user]) - len(known[user]),
                "interests": _summaries(weights[user], counts[user]),
                "candidates": self._candidates(
                    scores[user], rows[user], of_interest, known[user], top_k
                ),
            }
            for user in range(n_users)
        ]

    @torch.inference_mode()
    def _encode(self, histories: list[list[int]]) -> tuple[Floats, Floats, Rows]:
        cut = [history[-self._max_len :] for history in histories]
        longest = max(map(len, cut))
        padded = torch.tensor([history + [0] * (longest - len(history)) for history in cut])
        lengths = torch.tensor([len(history) for history in cut])
        interests, weights, counts = self._encoder(padded, lengths)
        return interests.numpy(), weights.numpy(), counts.numpy()

    def _candidates(
        self, scores: Floats, rows: Rows, of_interest: Rows, history: list[int], top_k: int
    ) -> list[Answer]:
        """Keep each item's best score, leave out the history, take the best; ties by row."""
        order = np.lexsort((rows, -scores))
        found, first = np.unique(rows[order], return_index=True)
        wanted = ~np.isin(found, [-1, *history])
        best = order[np.sort(first[wanted])[:top_k]]
        columns = zip(
            rows[best].tolist(),
            scores[best].astype(np.float64).round(DECIMALS).tolist(),
            of_interest[best].tolist(),
            strict=True,
        )
        return [
            {
                "item_id": self._ids[row],
                "title": self._titles[row],
                "score": score,
                "rank": rank,
                "interest": interest,
            }
            for rank, (row, score, interest) in enumerate(columns, start=1)
        ]


def _summaries(weights: Floats, counts: Rows) -> list[Answer]:
    return [
        {
            "interest": number,
            "weight": round(float(weights[number]), DECIMALS),
            "interactions": int(counts[number]),
        }
        for number in np.argsort(-weights, kind="stable").tolist()
    ]
