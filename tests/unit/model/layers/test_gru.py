"""A GRU over ragged sub-sequences, against one run over each alone; gradients too."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from model.layers.gru import GRU_PHASES, _running_with_padding, all_states, last_states
from tests.ragged import DIM, draw_rows, draw_vectors, every_kind


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
