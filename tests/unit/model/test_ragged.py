"""Sums and recurrences over ragged parts, against a loop over the parts; gradients too."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from model.ragged import (
    GRU_PHASES,
    RaggedRows,
    Recency,
    _running_with_padding,
    all_states,
    last_states,
    weighted_sums,
)

DIM = 6
N_VECTORS = 17

# Lengths of the parts: real logs have a few long ones, many short ones, and empty ones.
LENGTHS = {
    "skewed": [40, 1, 1, 0, 2, 1, 3, 9, 1, 0, 1, 2, 17, 1],
    "equal": [5] * 8,
    "one of each": list(range(25)),
    "one long": [0, 0, 31, 0],
    "single interactions": [1] * 9,
}
every_kind = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())


def draw_rows(n: int) -> Tensor:
    return torch.randint(N_VECTORS, (n,), generator=torch.Generator().manual_seed(0))


def draw_vectors(dim: int = DIM, seed: int = 1) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(N_VECTORS, dim, generator=random, dtype=torch.float64).requires_grad_()


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


@pytest.fixture
def gru() -> nn.GRU:
    torch.manual_seed(0)
    return nn.GRU(DIM, DIM, bias=False).double()


def interleave(lengths: list[int]) -> Tensor:
    """The sub-sequence of each interaction, those of different sub-sequences mixed up."""
    owners = np.repeat(np.arange(len(lengths)), lengths)
    return torch.from_numpy(np.random.default_rng(3).permutation(owners))


@every_kind
def test_last_states_are_those_of_each_sub_sequence_alone(gru: nn.GRU, lengths: list[int]) -> None:
    rows, sub_sequence, vectors = draw_rows(sum(lengths)), interleave(lengths), draw_vectors()
    states, order = last_states(gru, vectors, rows, sub_sequence, len(lengths))
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(4))
    of_ours = torch.autograd.grad((states * weights).sum(), [vectors, *gru.parameters()])

    alone = [gru(vectors[rows[sub_sequence == number]])[1][0] for number in order.tolist()]
    of_alone = torch.autograd.grad(
        (torch.stack(alone) * weights).sum(), [vectors, *gru.parameters()]
    )
    torch.testing.assert_close(states, torch.stack(alone))
    torch.testing.assert_close(of_ours, of_alone)


@every_kind
def test_all_states_are_those_of_each_sub_sequence_alone(gru: nn.GRU, lengths: list[int]) -> None:
    rows, sub_sequence, vectors = draw_rows(sum(lengths)), interleave(lengths), draw_vectors()
    states = all_states(gru, vectors, rows, sub_sequence, len(lengths))
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(4))
    of_ours = torch.autograd.grad((states * weights).sum(), [vectors, *gru.parameters()])

    alone = torch.empty_like(states)
    for number in set(sub_sequence.tolist()):
        alone[sub_sequence == number] = gru(vectors[rows[sub_sequence == number]])[0]
    of_alone = torch.autograd.grad((alone * weights).sum(), [vectors, *gru.parameters()])
    torch.testing.assert_close(states, alone)
    torch.testing.assert_close(of_ours, of_alone)


@every_kind
def test_the_longest_come_first_and_empty_ones_not_at_all(gru: nn.GRU, lengths: list[int]) -> None:
    rows, sub_sequence = draw_rows(sum(lengths)), interleave(lengths)
    _, order = last_states(gru, draw_vectors(), rows, sub_sequence, len(lengths))

    filled = [number for number, length in enumerate(lengths) if length]
    assert order.tolist() == sorted(filled, key=lambda number: -lengths[number])


@given(st.lists(st.integers(1, 60), min_size=1, max_size=300))
def test_padding_costs_few_phases_and_lets_nobody_join_late(lengths: list[int]) -> None:
    running = torch.tensor([sum(length > step for length in lengths) for step in range(60)])
    running = running[running > 0]
    padded = _running_with_padding(running)

    assert (padded >= running).all()
    assert padded.max() == len(lengths)
    assert padded.tolist() == sorted(padded.tolist(), reverse=True)
    assert (
        len(set(padded.tolist())) <= GRU_PHASES + 1
    )  # one more where rounding lifts the first level


def test_padding_is_less_than_a_tenth_for_lengths_as_skewed_as_real_ones() -> None:
    lengths = np.random.default_rng(0).geometric(1 / 8, size=1000)
    running = torch.tensor([(lengths > step).sum() for step in range(lengths.max())])

    assert _running_with_padding(running).sum() < 1.1 * lengths.sum()
