"""Blocks of self-attention against a plain loop, and what must not be seen."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.layers.padded import LaidOutHistories
from model.layers.transformer import CausalBlock, CausalTransformer
from tests.padded import history_of

DIM, MAX_LEN = 8, 6


@pytest.fixture
def transformer() -> CausalTransformer:
    torch.manual_seed(0)
    transformer = CausalTransformer(dim=DIM, max_len=MAX_LEN, n_blocks=2, dropout=0.5)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return transformer.eval()


def slow_block(block: CausalBlock, states: list[Tensor]) -> list[Tensor]:
    """Run a block, one interaction after the other."""
    projected = [block.query_key_value.weight @ block.attention_norm(state) for state in states]
    triples = [each.split(DIM) for each in projected]
    results = []
    for t, (query, _, _) in enumerate(triples):
        scores = torch.stack([query @ key / DIM**0.5 for _, key, _ in triples[: t + 1]]).softmax(0)
        attended = states[t] + sum(
            score * value for score, (_, _, value) in zip(scores, triples, strict=False)
        )
        hidden = functional.relu(block.network_in(block.network_norm(attended)))
        results.append(attended + block.network_out(hidden))
    return results


def test_states_are_those_of_a_loop(transformer: CausalTransformer) -> None:
    vectors, ages = torch.randn(4, DIM), [5, 3, 1, 0]
    states = [
        vector * DIM**0.5 + transformer.positions[age]
        for vector, age in zip(vectors, ages, strict=True)
    ]
    for block in transformer.blocks:
        assert isinstance(block, CausalBlock)
        states = slow_block(block, states)

    expected = torch.stack([transformer.norm(state) for state in states])
    torch.testing.assert_close(transformer(history_of(vectors, ages).laid_out()), expected)


def test_a_state_knows_nothing_of_later_interactions(transformer: CausalTransformer) -> None:
    vectors = torch.randn(5, DIM)
    before = transformer(history_of(vectors).laid_out())
    vectors[3] += 1
    after = transformer(history_of(vectors).laid_out())

    assert (before[:3] == after[:3]).all()
    assert (before[3:] != after[3:]).any(1).all()


def test_histories_of_any_lengths_together_are_what_each_is_alone(
    transformer: CausalTransformer,
) -> None:
    lengths = [2, 5, 1, 5, 3, 1, 4, 2, 1, 3, 6]
    histories = [history_of(torch.randn(length, DIM)).laid_out() for length in lengths]

    together = transformer(
        LaidOutHistories(*(torch.cat(parts) for parts in zip(*histories, strict=True)))
    )

    for history, states in zip(histories, together.split(lengths), strict=True):
        torch.testing.assert_close(states, transformer(history))


def test_interactions_older_than_any_in_training_share_a_position(
    transformer: CausalTransformer,
) -> None:
    vectors = torch.randn(2, DIM)

    oldest, older = (
        transformer(history_of(vectors, [age, 0]).laid_out()) for age in (MAX_LEN - 1, 50)
    )

    assert (oldest == older).all()


def test_dropout_is_for_training_alone(transformer: CausalTransformer) -> None:
    history = history_of(torch.randn(4, DIM)).laid_out()

    assert (transformer(history) == transformer(history)).all()
    transformer.train()
    assert (transformer(history) != transformer(history)).any()
