"""Sums over histories of different lengths, without padding and without a loop.

A ragged array is all its parts laid one after the other, with the length of each part.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class RaggedRows(NamedTuple):
    """Rows of a table, in parts of different lengths.

    Attributes:
        rows: Part after part. Shape (n,), int64.
        lengths: Of the parts, 0 allowed. Shape (n_parts,), int64.
        by_row: The places in ``rows`` in order of the row they hold: its argsort. Whoever makes
            the rows often has a faster way to sort them than torch's. Shape (n,), int64.
    """

    rows: Tensor
    lengths: Tensor
    by_row: Tensor

    def parts(self) -> Tensor:
        """The part of each row. Shape (n,), int64."""
        return torch.repeat_interleave(self.lengths)

    def occurrences(self, n_rows: int) -> Tensor:
        """How often each row of a table occurs. Shape (n_rows,), int64."""
        return self.rows.bincount(minlength=n_rows)


class Recency(NamedTuple):
    """Weight of an interaction by its age: r = (1 + age)^(−ρ).

    Attributes:
        exponent: ρ, a scalar.
        log_age: log(1 + age), age 0 for the newest of a history, then 1, 2, …
            Shape (n,), float32.
    """

    exponent: Tensor
    log_age: Tensor

    def weights(self) -> Tensor:
        """Return r. Shape (n,), float32."""
        return (-self.exponent * self.log_age).exp()


def weighted_sums(
    weights: Tensor, vectors: Tensor, ragged: RaggedRows, recency: Recency | None = None
) -> Tensor:
    """Sum vectors over each part, once with each of their k weights: Σ_i r_i w_ij v_i.

    Args:
        weights: Of each row of ``vectors``. Shape (n_rows, k), float32.
        vectors: Shape (n_rows, d), float32.
        ragged: Which rows each part sums; a part without any gives zeros.
        recency: What each place counts besides, r_i; None: 1.

    Returns:
        Shape (n_parts, k, d), float32.
    """
    exponent, log_age = recency if recency is not None else (None, None)
    result: Tensor = _WeightedSums.apply(  # type: ignore[no-untyped-call]
        weights, vectors, exponent, log_age, *ragged
    )
    return result


class _WeightedSums(torch.autograd.Function):
    """Each row times its weights once, then ``embedding_bag``, forward and backward.

    The gradient of a row is the sum of those of the parts that hold it: the same sum, seen from
    the other side. torch's own backward of ``embedding_bag`` takes several times as long on a CPU.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weights: Tensor,
        vectors: Tensor,
        exponent: Tensor | None,
        log_age: Tensor | None,
        *ragged: Tensor,
    ) -> Tensor:
        recency = None if exponent is None or log_age is None else Recency(exponent, log_age)
        ctx.recency = recency
        ctx.save_for_backward(weights, vectors, *ragged)
        products = weights.unsqueeze(2) * vectors.unsqueeze(1)
        return _sum_parts(
            products, RaggedRows(*ragged), None if recency is None else recency.weights()
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weights, vectors, *tensors = ctx.saved_tensors
        ragged = RaggedRows(*tensors)
        recency: Recency | None = ctx.recency
        of_place = None if recency is None else recency.weights()
        to_exponent = None
        if recency is not None and of_place is not None and ctx.needs_input_grad[2]:
            # ∂r/∂ρ = −log(1 + age) r: the same sum with other weights.
            products = weights.unsqueeze(2) * vectors.unsqueeze(1)
            to_exponent = (
                _sum_parts(products, ragged, -recency.log_age * of_place) * gradient
            ).sum()
        by_row = RaggedRows(
            ragged.parts()[ragged.by_row], ragged.occurrences(len(vectors)), ragged.by_row
        )
        products = _sum_parts(
            gradient, by_row, None if of_place is None else of_place[ragged.by_row]
        )
        to_weights = torch.linalg.vecdot(products, vectors.unsqueeze(1))
        to_vectors = products.mul_(weights.unsqueeze(2)).sum(1)
        return to_weights, to_vectors, to_exponent, *[None] * 4


def _sum_parts(values: Tensor, ragged: RaggedRows, weights: Tensor | None) -> Tensor:
    """Sum rows of ``values`` over each part. Shape (n_parts, *values.shape[1:])."""
    sums = functional.embedding_bag(
        ragged.rows,
        values.flatten(1),
        _starts(ragged.lengths),
        mode="sum",
        per_sample_weights=weights,
    )
    return sums.view(-1, *values.shape[1:])


def _starts(lengths: Tensor) -> Tensor:
    return lengths.cumsum(0) - lengths
