"""The encoder in torch against a loop over users, interests and steps, and its invariances."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.opal import PADDING, OpalEncoder, Stage, pack_sub_sequences

STAGES: tuple[Stage, Stage] = ("soft", "hard")
N_ITEMS = 40
LENGTHS = (0, 1, 2, 7, 12, 3)


@pytest.fixture
def encoder() -> OpalEncoder:
    torch.manual_seed(0)
    return OpalEncoder(n_items=N_ITEMS, n_interests=4, dim=8, temperature=0.1)


def histories(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(N_ITEMS, size=length).tolist() for length in lengths]


def pad(rows: list[list[int]], length: int | None = None) -> Tensor:
    longest = length or max(len(row) for row in rows)
    return torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows])


@torch.no_grad()
def slow_interests(encoder: OpalEncoder, history: list[int], stage: Stage) -> Tensor:
    """OPAL.md, "Soft interests" and "Hard interests", one interaction at a time."""
    e, c = encoder.item_embeddings(), encoder.hyper_categories()
    k, dim = c.shape
    a = [torch.softmax(c @ e[row] / encoder.temperature, dim=0) for row in history]
    result = []
    for j in range(k):
        s = c[j]
        if history:
            total = torch.stack([a[t][j] * e[row] for t, row in enumerate(history)]).sum(0)
            s = functional.normalize(total, dim=0)
        if stage == "soft":
            result.append(s)
            continue
        state = torch.zeros(dim)
        own = [row for row in history if int((c @ e[row]).argmax()) == j]
        for row in own:
            state = slow_gru_step(encoder, e[row], state)
        h = functional.normalize(functional.relu(encoder.head(state)), dim=0)
        if not own or not h.any():
            h = c[j]
        result.append(functional.normalize(0.5 * s + 0.5 * h, dim=0))
    return torch.stack(result)


def slow_gru_step(encoder: OpalEncoder, x: Tensor, state: Tensor) -> Tensor:
    weights = dict(encoder.gru.named_parameters())
    from_input = (weights["weight_ih_l0"] @ x).chunk(3)
    from_state = (weights["weight_hh_l0"] @ state).chunk(3)
    reset = torch.sigmoid(from_input[0] + from_state[0])
    update = torch.sigmoid(from_input[1] + from_state[1])
    new = torch.tanh(from_input[2] + reset * from_state[2])
    return (1 - update) * new + update * state


@torch.no_grad()
def encode(encoder: OpalEncoder, padded: Tensor, stage: Stage) -> Tensor:
    interests: Tensor = encoder(padded, stage).interests
    return interests


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("seed", range(3))
def test_interests_are_those_of_the_equations(stage: Stage, seed: int) -> None:
    torch.manual_seed(seed)
    encoder = OpalEncoder(n_items=N_ITEMS, n_interests=4, dim=8, temperature=0.1)
    rows = histories((0, 1, 2, 30, 12, 3, 5), seed)

    expected = torch.stack([slow_interests(encoder, row, stage) for row in rows])
    torch.testing.assert_close(encode(encoder, pad(rows), stage), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_interests_have_unit_length(encoder: OpalEncoder, stage: Stage) -> None:
    lengths = encode(encoder, pad(histories()), stage).norm(dim=-1)

    torch.testing.assert_close(lengths, torch.ones_like(lengths))


@pytest.mark.parametrize("stage", STAGES)
def test_the_amount_of_padding_does_not_count(encoder: OpalEncoder, stage: Stage) -> None:
    rows = histories()

    torch.testing.assert_close(
        encode(encoder, pad(rows), stage), encode(encoder, pad(rows, 33), stage)
    )


@pytest.mark.parametrize("stage", STAGES)
def test_the_side_of_the_padding_does_not_count(encoder: OpalEncoder, stage: Stage) -> None:
    rows = histories()
    left = torch.tensor([[PADDING] * (12 - len(row)) + row for row in rows])

    torch.testing.assert_close(encode(encoder, pad(rows), stage), encode(encoder, left, stage))


@pytest.mark.parametrize("stage", STAGES)
def test_the_rest_of_the_batch_does_not_count(encoder: OpalEncoder, stage: Stage) -> None:
    rows = histories()
    together = encode(encoder, pad(rows), stage)

    for number, row in enumerate(rows):
        alone = encode(encoder, pad([row], max(1, len(row))), stage)
        torch.testing.assert_close(alone[0], together[number])
    order = [3, 0, 5, 1, 4, 2]
    shuffled = encode(encoder, pad([rows[number] for number in order]), stage)
    torch.testing.assert_close(shuffled, together[order])


@pytest.mark.parametrize("stage", STAGES)
def test_an_empty_history_gives_the_hyper_categories(encoder: OpalEncoder, stage: Stage) -> None:
    for padded in (torch.full((2, 3), PADDING), torch.empty(2, 0, dtype=torch.int64)):
        interests = encode(encoder, padded, stage)
        for user in interests:
            torch.testing.assert_close(user, encoder.hyper_categories().detach())


def test_one_interaction_is_every_soft_interest(encoder: OpalEncoder) -> None:
    interests = encode(encoder, pad([[5]]), "soft")

    for interest in interests[0]:
        torch.testing.assert_close(interest, encoder.item_embeddings()[5].detach())


def test_soft_interests_do_not_know_the_order(encoder: OpalEncoder) -> None:
    row = histories()[4]

    torch.testing.assert_close(
        encode(encoder, pad([row]), "soft"), encode(encoder, pad([row[::-1]]), "soft")
    )


def test_hard_interests_know_the_order(encoder: OpalEncoder) -> None:
    row = histories()[4]
    there, back = (encode(encoder, pad([way]), "hard") for way in (row, row[::-1]))

    assert (there - back).abs().max() > 1e-3


def test_an_interest_that_the_relu_cuts_to_nothing_falls_back(encoder: OpalEncoder) -> None:
    torch.nn.init.zeros_(encoder.head.weight)
    torch.nn.init.constant_(encoder.head.bias, -1)
    rows = histories()

    soft, hard = (encode(encoder, pad(rows), stage) for stage in STAGES)
    expected = functional.normalize(soft + encoder.hyper_categories().detach(), dim=-1)
    torch.testing.assert_close(hard, expected)


def test_assignment_is_a_distribution_where_items_are_and_nothing_elsewhere(
    encoder: OpalEncoder,
) -> None:
    encoded = encoder(pad(histories()), "soft")

    mass = encoded.assignment.sum(-1)
    torch.testing.assert_close(mass, encoded.is_item.float())
    assert encoded.is_item.sum(1).tolist() == list(LENGTHS)


def test_hyper_categories_start_orthonormal(encoder: OpalEncoder) -> None:
    c = encoder.hyper_categories()

    torch.testing.assert_close(c @ c.T, torch.eye(4), atol=1e-6, rtol=0)


def test_embeddings_stay_on_the_unit_sphere(encoder: OpalEncoder) -> None:
    with torch.no_grad():
        encoder.item_table.mul_(7)
        encoder.hyper_table.mul_(0.01)

    rows = torch.tensor([[3, 1], [1, 0]])
    torch.testing.assert_close(encoder.item_embeddings().norm(dim=1), torch.ones(N_ITEMS))
    torch.testing.assert_close(encoder.hyper_categories().norm(dim=1), torch.ones(4))
    torch.testing.assert_close(encoder.embed(rows), encoder.item_embeddings()[rows])


@pytest.mark.parametrize("stage", STAGES)
def test_gradients_reach_only_the_items_of_the_histories(
    encoder: OpalEncoder, stage: Stage
) -> None:
    rows = histories()
    encoder(pad(rows), stage).interests.square().sum(0).std().backward()
    assert encoder.item_table.grad is not None

    touched = encoder.item_table.grad.abs().sum(1) > 0
    assert torch.isfinite(encoder.item_table.grad).all()
    assert set(touched.nonzero().flatten().tolist()) == {row for own in rows for row in own}
    assert (encoder.gru.weight_ih_l0.grad is not None) == (stage == "hard")


@pytest.mark.parametrize("seed", range(5))
def test_packing_is_that_of_a_loop(seed: int) -> None:
    random = np.random.default_rng(seed)
    n_sub_sequences = 9
    owner = random.integers(n_sub_sequences - 1, size=30)  # the last one stays empty
    values = torch.arange(30, dtype=torch.float32).unsqueeze(1)
    packed, order = pack_sub_sequences(values, torch.from_numpy(owner), n_sub_sequences)

    members = {j: np.flatnonzero(owner == j).tolist() for j in range(n_sub_sequences)}
    filled = [j for j in members if members[j]]
    longest_first = sorted(filled, key=lambda j: -len(members[j]))
    steps = [
        [members[j][step] for j in longest_first if len(members[j]) > step]
        for step in range(len(members[longest_first[0]]))
    ]
    assert order.tolist() == longest_first
    assert packed.batch_sizes.tolist() == [len(step) for step in steps]
    assert packed.data.flatten().tolist() == [number for step in steps for number in step]
