"""The encoder in torch against a loop over users, interests and steps, and its invariances."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.data.cooccurrence import cluster_directions
from model.data.histories import PADDING
from model.encoder import Stage, normalize
from model.layers.ragged import RaggedRows
from model.opal import OpalEncoder

STAGES: tuple[Stage, Stage] = ("soft", "hard")
N_ITEMS = 40
LENGTHS = (0, 1, 2, 7, 12, 3)


# The terms that are not the paper's, each alone and all together.
PAPER: dict[str, float] = {}
TERMS: dict[str, dict[str, float]] = {
    "paper": PAPER,
    "sharing": {"sharing": 0.3},
    "whole history": {"sharing": 1.0},
    "recency": {"recency": 0.7},
    "newer counts less": {"recency": -0.2},
    "evolution": {"evolution": 0.1},
    "general": {"general": 0.7},
    "all": {"sharing": 0.5, "recency": 0.4, "evolution": 0.8, "general": 0.3},
}
every_term = pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS.keys())


def encoder_with(terms: dict[str, float], seed: int = 0) -> OpalEncoder:
    torch.manual_seed(seed)
    encoder = OpalEncoder(
        n_items=N_ITEMS,
        n_interests=4,
        dim=8,
        temperature=0.1,
        sharing=terms.get("sharing", 0.0),
        learn_recency="recency" in terms,
        evolution=terms.get("evolution", 0.5),
        learn_evolution="evolution" in terms,
        general=terms.get("general", 0.0),
    )
    torch.nn.init.constant_(encoder.recency, terms.get("recency", 0.0))
    return encoder


@pytest.fixture(params=["paper", "all"])
def encoder(request: pytest.FixtureRequest) -> OpalEncoder:
    return encoder_with(TERMS[request.param])


def histories(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(N_ITEMS, size=length).tolist() for length in lengths]


def pad(rows: list[list[int]], length: int | None = None) -> Tensor:
    longest = length or max(len(row) for row in rows)
    return torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows])


@torch.no_grad()
def slow_interests(encoder: OpalEncoder, history: list[int], stage: Stage) -> Tensor:
    """arXiv 2407.14741, soft and hard interests, one interaction at a time.

    s_j = norm(Σ_t (ε + (1 − ε) a_tj) (1 + age_t)^(−ρ) e_t); z_j = norm((1 − γ) s_j + γ h_j);
    with a general interest g, z_j = norm(s_j + γ / (1 − γ) h_j + λ g).
    """
    e, c = encoder.item_embeddings(), encoder.hyper_categories()
    epsilon, rho, gamma = encoder.sharing, float(encoder.recency), float(encoder.evolution)
    k, dim = c.shape
    a = [torch.softmax(c @ e[row] / encoder.temperature, dim=0) for row in history]
    g = torch.zeros(dim)
    if encoder.general is not None and history:
        state = torch.zeros(dim)
        for row in history:
            state = slow_gru_step(encoder, e[row], state)
        g = encoder.general.weight * functional.normalize(encoder.general.head(state), dim=0)
    result = []
    for j in range(k):
        s = c[j]
        if history:
            total = torch.zeros(dim)
            for t, row in enumerate(history):
                age = len(history) - 1 - t
                total += (epsilon + (1 - epsilon) * a[t][j]) * (1 + age) ** -rho * e[row]
            s = functional.normalize(total, dim=0)
        if stage == "soft":
            result.append(functional.normalize(s + g, dim=0))
            continue
        state = torch.zeros(dim)
        own = [row for row in history if int((c @ e[row]).argmax()) == j]
        for row in own:
            state = slow_gru_step(encoder, e[row], state)
        h = functional.normalize(functional.relu(encoder.head(state)), dim=0)
        if not own or not h.any():
            h = s if epsilon else c[j]
        result.append(functional.normalize((1 - gamma) * (s + g) + gamma * h, dim=0))
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


@every_term
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("seed", range(3))
def test_interests_are_those_of_the_equations(
    terms: dict[str, float], stage: Stage, seed: int
) -> None:
    encoder = encoder_with(terms, seed)
    rows = histories((0, 1, 2, 30, 12, 3, 5, 150), seed)

    expected = torch.stack([slow_interests(encoder, row, stage) for row in rows])
    torch.testing.assert_close(encode(encoder, pad(rows), stage), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("term", ["sharing", "recency", "evolution", "general"])
def test_every_term_says_something(term: str, stage: Stage) -> None:
    rows = pad(histories())
    plain, changed = (encode(encoder_with(terms), rows, stage) for terms in (PAPER, TERMS[term]))

    only_in_the_hard_stage = term == "evolution"
    assert torch.equal(plain, changed) == (only_in_the_hard_stage and stage == "soft")


@every_term
@pytest.mark.parametrize("stage", STAGES)
def test_gradients_are_those_of_finite_differences(terms: dict[str, float], stage: Stage) -> None:
    encoder = encoder_with(terms, 1).double()
    padded = pad(histories((0, 1, 2, 6), 1))
    used, places = torch.unique(padded[padded != PADDING], return_inverse=True)
    ragged = RaggedRows(places, (padded != PADDING).sum(1), places.argsort())
    ages = torch.cat([torch.arange(n).flip(0) for n in (0, 1, 2, 6)])
    learned = {
        name: value
        for name, value in encoder.named_parameters()
        if value.requires_grad and name not in ("item_table", "log_score_temperature")
    }
    # Those of the rows in use are enough of the item table.
    table = encoder.item_table.detach()[used].requires_grad_()

    def interests(rows: Tensor, *_: Tensor) -> Tensor:
        return encoder.encode(normalize(rows), ragged, ages, stage).interests

    if stage == "soft":
        learned = {name: learned[name] for name in ("hyper_table", "recency") if name in learned}
    # gradcheck moves its arguments in place: the encoder's own parameters among them.
    assert torch.autograd.gradcheck(interests, (table, *learned.values()))


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


@pytest.mark.parametrize("term", ["paper", "sharing", "recency"])
def test_one_interaction_is_every_soft_interest(term: str) -> None:
    encoder = encoder_with(TERMS[term])
    interests = encode(encoder, pad([[5]]), "soft")

    for interest in interests[0]:
        torch.testing.assert_close(interest, encoder.item_embeddings()[5].detach())


@pytest.mark.parametrize("term", ["paper", "sharing"])
def test_soft_interests_do_not_know_the_order(term: str) -> None:
    encoder, row = encoder_with(TERMS[term]), histories()[4]

    torch.testing.assert_close(
        encode(encoder, pad([row]), "soft"), encode(encoder, pad([row[::-1]]), "soft")
    )


def test_hard_interests_know_the_order(encoder: OpalEncoder) -> None:
    row = histories()[4]
    there, back = (encode(encoder, pad([way]), "hard") for way in (row, row[::-1]))

    assert (there - back).abs().max() > 1e-3


@pytest.mark.parametrize("recency", [0.0, 1.0, 3.0])
def test_an_interaction_weighs_by_its_age(recency: float) -> None:
    encoder = encoder_with({"recency": recency, "sharing": 1.0})
    e = encoder.item_embeddings().detach()

    (interests,) = encode(encoder, pad([[5, 7, 9]]), "soft")
    expected = functional.normalize(e[5] * 3**-recency + e[7] * 2**-recency + e[9], dim=0)
    for interest in interests:
        torch.testing.assert_close(interest, expected)


def test_recency_that_is_not_learned_is_none() -> None:
    encoder = encoder_with(PAPER)

    assert encoder.recency.item() == 0
    assert not encoder.recency.requires_grad


@pytest.mark.parametrize("fallback", ["hyper-category", "soft interest"])
def test_an_interest_without_interactions_falls_back(fallback: str) -> None:
    encoder = encoder_with(TERMS["sharing"] if fallback == "soft interest" else PAPER)
    c = encoder.hyper_categories().detach()
    row = [3, 3, 3]
    empty = [j for j in range(4) if j != int((c @ encoder.item_embeddings()[3]).argmax())]

    soft, hard = (encode(encoder, pad([row]), stage)[0][empty] for stage in STAGES)
    expected = (
        soft if fallback == "soft interest" else functional.normalize(soft + c[empty], dim=-1)
    )
    torch.testing.assert_close(hard, expected)


@pytest.mark.parametrize("term", ["paper", "sharing"])
def test_an_interest_that_the_relu_cuts_to_nothing_falls_back(term: str) -> None:
    encoder = encoder_with(TERMS[term])
    torch.nn.init.zeros_(encoder.head.weight)
    torch.nn.init.constant_(encoder.head.bias, -1)
    rows = histories()

    soft, hard = (encode(encoder, pad(rows), stage) for stage in STAGES)
    fallback = soft if term == "sharing" else encoder.hyper_categories().detach()
    torch.testing.assert_close(hard, functional.normalize(soft + fallback, dim=-1))


@pytest.mark.parametrize("stage", STAGES)
def test_interests_do_not_depend_on_how_items_are_numbered(
    encoder: OpalEncoder, stage: Stage
) -> None:
    rows = histories()
    items = torch.randperm(N_ITEMS, generator=torch.Generator().manual_seed(1))
    places = items.argsort()[torch.tensor([row for own in rows for row in own])]
    ragged = RaggedRows(places, torch.tensor(LENGTHS), places.argsort())
    ages = torch.cat([torch.arange(length).flip(0) for length in LENGTHS])
    with torch.no_grad():
        interests = encoder.encode(encoder.embed(items), ragged, ages, stage).interests

    torch.testing.assert_close(interests, encode(encoder, pad(rows), stage))


def test_each_distinct_item_has_a_distribution_and_its_number_of_interactions(
    encoder: OpalEncoder,
) -> None:
    rows = histories()
    encoded = encoder(pad(rows), "soft")
    items, occurrences = np.unique([row for own in rows for row in own], return_counts=True)

    e, c = encoder.embed(torch.from_numpy(items)), encoder.hyper_categories()
    torch.testing.assert_close(encoded.assignment, (e @ c.T / encoder.temperature).softmax(-1))
    assert encoded.occurrences.tolist() == occurrences.tolist()


def test_training_begins_with_the_vectors_it_is_given_and_directions_of_their_clusters() -> None:
    encoder = encoder_with(PAPER)
    items = normalize(torch.randn(N_ITEMS, 8, generator=torch.Generator().manual_seed(4)))
    encoder.start_from(items.numpy(), np.random.default_rng(5))

    directions = cluster_directions(items.numpy(), 4, np.random.default_rng(5))
    torch.testing.assert_close(encoder.item_embeddings(), items)
    torch.testing.assert_close(encoder.hyper_categories(), torch.from_numpy(directions))
    assert encoder.item_table.requires_grad
    assert encoder.hyper_table.requires_grad


def test_scores_have_a_temperature_of_their_own_or_that_of_the_assignment() -> None:
    def temperature(**options: Any) -> OpalEncoder:
        return OpalEncoder(n_items=3, n_interests=2, dim=4, temperature=0.2, **options)

    assert temperature().score_temperature.item() == pytest.approx(0.2)
    assert temperature(score_temperature=0.5).score_temperature.item() == pytest.approx(0.5)
    assert not temperature().score_temperature.requires_grad
    assert temperature(learn_temperature=True).score_temperature.requires_grad


@pytest.mark.parametrize("evolution", [0.1, 0.5, 0.9])
def test_the_share_of_the_evolved_interest_starts_as_told(evolution: float) -> None:
    encoder = encoder_with({"evolution": evolution})

    assert encoder.evolution.item() == pytest.approx(evolution)
    assert encoder.evolution_logit.requires_grad
    assert not encoder_with(PAPER).evolution_logit.requires_grad


@pytest.mark.parametrize("stage", STAGES)
def test_sparse_gradients_are_the_dense_ones(stage: Stage) -> None:
    dense, sparse = (
        OpalEncoder(n_items=N_ITEMS, n_interests=4, dim=8, temperature=0.1, sparse_gradients=each)
        for each in (False, True)
    )
    sparse.load_state_dict(dense.state_dict())
    towards = torch.randn(len(LENGTHS), 4, 8, generator=torch.Generator().manual_seed(2))
    for each in (dense, sparse):
        (each(pad(histories()), stage).interests * towards).sum().backward()

    assert dense.item_table.grad is not None
    assert sparse.item_table.grad is not None
    assert sparse.item_table.grad.is_sparse
    torch.testing.assert_close(sparse.item_table.grad.to_dense(), dense.item_table.grad)


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
    reads = stage == "hard" or encoder.general is not None
    assert (encoder.gru.weight_ih_l0.grad is not None) == reads


def test_normalize_is_that_of_torch_with_its_gradient() -> None:
    vectors = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    vectors *= torch.tensor([1e-3, 1, 1e6, 0, 1e-15]).unsqueeze(1)
    vectors.requires_grad_()
    towards = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    ours, torchs = normalize(vectors), functional.normalize(vectors, dim=-1)
    gradients = [
        torch.autograd.grad(result, vectors, towards, retain_graph=True)[0]
        for result in (ours, torchs)
    ]

    torch.testing.assert_close(ours, torchs)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-9)
