"""The general interest against torch's GRU, and attention, over each history alone."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.layers.general_interest import GeneralInterest
from model.layers.ragged import RaggedRows
from tests.padded import history_of

DIM, N_ITEMS = 6, 30
LENGTHS = [3, 0, 20, 29, 1]


@pytest.fixture
def gru() -> torch.nn.GRU:
    torch.manual_seed(0)
    return torch.nn.GRU(DIM, DIM, bias=False)


@pytest.fixture
def general() -> GeneralInterest:
    torch.manual_seed(1)
    return GeneralInterest(dim=DIM, weight=0.4)


def ragged(lengths: list[int]) -> tuple[RaggedRows, Tensor]:
    """Draw histories of these lengths. Returns them, and their ages."""
    torch.manual_seed(2)
    rows = torch.randint(N_ITEMS, (sum(lengths),))
    ages = torch.cat([torch.arange(length).flip(0) for length in lengths])
    return RaggedRows(rows, torch.tensor(lengths), rows.argsort()), ages


@torch.no_grad()
@pytest.mark.parametrize("positions", [None, 30])
@pytest.mark.parametrize(("most", "read_of_each"), [(None, LENGTHS), (20, [3, 0, 20, 20, 1])])
def test_it_is_what_gru_and_attention_make_of_all_or_of_the_newest(
    gru: torch.nn.GRU, most: int | None, read_of_each: list[int], positions: int | None
) -> None:
    torch.manual_seed(1)
    general = GeneralInterest(dim=DIM, weight=0.4, length=most, positions=positions).eval()
    assert (general.attention is None) == (positions is None)
    histories, ages = ragged(LENGTHS)
    vectors = torch.randn(N_ITEMS, DIM)

    read = general.read(gru, vectors, histories, ages)
    found = general(read)

    assert read.lengths.tolist() == read_of_each
    states = torch.split(read.states, read.lengths.tolist())
    for user, rows in enumerate(torch.split(histories.rows, LENGTHS)):
        if not len(rows):
            assert not found[user].any()
            continue
        alone = vectors[rows if most is None else rows[-most:]]
        expected = functional.normalize(general.head(gru(alone)[0]), dim=1)
        if general.attention is not None:
            attended = functional.normalize(general.attention(history_of(alone).laid_out()), dim=1)
            expected = functional.normalize(expected + attended, dim=1)
        torch.testing.assert_close(states[user], expected)
        torch.testing.assert_close(found[user], 0.4 * expected[-1])


@torch.no_grad()
def test_attention_knows_how_many_interactions_were_dropped_in_between(gru: torch.nn.GRU) -> None:
    torch.manual_seed(1)
    general = GeneralInterest(dim=DIM, weight=0.4, positions=30).eval()
    histories, ages = ragged([5])
    vectors = torch.randn(N_ITEMS, DIM)

    together = general(general.read(gru, vectors, histories, ages))
    apart = general(general.read(gru, vectors, histories, ages * 2))

    assert not torch.allclose(together, apart, atol=1e-3)


@torch.no_grad()
def test_a_part_of_what_attention_makes_is_dropped_in_training_alone(gru: torch.nn.GRU) -> None:
    general = GeneralInterest(dim=DIM, weight=0.4, positions=30)
    histories, ages = ragged([5])
    vectors = torch.randn(N_ITEMS, DIM)

    def twice() -> tuple[Tensor, Tensor]:
        first, second = (general.read(gru, vectors, histories, ages).states for _ in range(2))
        return first, second

    in_training, served = twice(), (general.eval(), *twice())[1:]

    assert not torch.equal(*in_training)
    assert torch.equal(*served)


def test_without_any_interaction_there_is_none(gru: torch.nn.GRU, general: GeneralInterest) -> None:
    histories, ages = ragged([0, 0])

    found = general(general.read(gru, torch.randn(N_ITEMS, DIM), histories, ages))

    assert found.tolist() == [[0.0] * DIM] * 2


def test_dropped_interactions_count_in_the_ages(
    gru: torch.nn.GRU, general: GeneralInterest
) -> None:
    general.length = 20
    histories, ages = ragged([5])

    read = general.read(gru, torch.randn(N_ITEMS, DIM), histories, ages * 6)

    assert read.lengths.tolist() == [4], "the fifth is older than 20 others, though they are gone"
