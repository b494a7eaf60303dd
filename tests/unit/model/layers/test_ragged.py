"""Sums over ragged parts, against a loop over the parts; gradients too."""

import pytest
import torch

from model.layers.ragged import RaggedRows, Recency, weighted_sums
from tests.ragged import DIM, LENGTHS, draw_rows, draw_vectors


def ragged_of(lengths: list[int]) -> RaggedRows:
    rows = draw_rows(sum(lengths))
    return RaggedRows(rows, torch.tensor(lengths), rows.argsort())


@pytest.mark.parametrize("lengths", [*LENGTHS.values(), [0, 0]])
def test_weighted_sums_are_those_of_a_loop(lengths: list[int]) -> None:
    ragged, weights, vectors = ragged_of(lengths), draw_vectors(3, 2), draw_vectors()

    parts = torch.split(ragged.rows, lengths)
    expected = torch.stack([weights[rows].T @ vectors[rows] for rows in parts])
    torch.testing.assert_close(weighted_sums(weights, vectors, ragged), expected)


def test_weighted_sums_have_the_gradient_of_finite_differences() -> None:
    ragged, weights, vectors = ragged_of([3, 0, 5, 1]), draw_vectors(2, 2), draw_vectors(3)

    assert torch.autograd.gradcheck(
        lambda weights, vectors: weighted_sums(weights, vectors, ragged), (weights, vectors)
    )


def recency_of(ages: list[int], exponent: float) -> Recency:
    log_age = torch.tensor(ages, dtype=torch.float64).log1p()
    return Recency(torch.tensor(exponent, dtype=torch.float64, requires_grad=True), log_age)


@pytest.mark.parametrize("lengths", [*LENGTHS.values(), [0, 0]])
@pytest.mark.parametrize("exponent", [0.0, 0.7, -0.3])
def test_sums_weighted_by_recency_are_those_of_a_loop(lengths: list[int], exponent: float) -> None:
    ragged, weights, vectors = ragged_of(lengths), draw_vectors(3, 2), draw_vectors()
    ages = [3 * age for length in lengths for age in reversed(range(length))]  # some were dropped
    sums = weighted_sums(weights, vectors, ragged, recency_of(ages, exponent))

    place = 0
    for part, length in enumerate(lengths):
        expected = torch.zeros(3, DIM, dtype=torch.float64)
        for row in ragged.rows[place : place + length].tolist():
            share = (1 + ages[place]) ** -exponent
            expected += share * weights[row].unsqueeze(1) * vectors[row]
            place += 1
        torch.testing.assert_close(sums[part], expected)


@pytest.mark.parametrize("learned", [True, False])
def test_sums_weighted_by_recency_have_the_gradient_of_finite_differences(learned: bool) -> None:
    ragged, weights, vectors = ragged_of([3, 0, 5, 1]), draw_vectors(2, 2), draw_vectors(3)
    exponent, log_age = recency_of([2, 1, 0, 7, 6, 3, 1, 0, 4], 0.7)
    exponent.requires_grad_(learned)

    assert torch.autograd.gradcheck(
        lambda weights, vectors, exponent: weighted_sums(
            weights, vectors, ragged, Recency(exponent, log_age)
        ),
        (weights, vectors, exponent),
    )
