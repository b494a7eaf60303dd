"""The encoder without torch: the same interests as by the equations, and as in torch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from model.encoder import Stage
from model.inference.opal import OpalInferenceEncoder
from model.opal import OpalEncoder
from model.run import write_encoder
from model.training.export import export_encoder
from model.training.serving_choices import ServingChoices
from tests.bundles import load_opal
from tests.opal import MAX_LEN, N_ITEMS, PAPER_HARD, random_encoder
from tests.opal_equations import interests_of_the_equations

# Terms of the encoder that the paper does not have, one at a time and all together.
TERMS: dict[str, dict[str, float]] = {
    "the paper's": {},
    "recency": {"recency": 0.7},
    "sharing": {"sharing": 0.3},
    "everything shared": {"sharing": 1.0},
    "little evolution": {"evolution": 0.2},
    "no evolution": {"evolution": 0.0},
    "evolution alone": {"evolution": 1.0},
    "a general interest": {"general": 0.6},
    "a general interest of the newest": {"general": 0.6, "general_len": 7},
    "all but attention": {
        "recency": 0.5,
        "sharing": 0.1,
        "evolution": 0.3,
        "general": 2.0,
        "general_len": 12,
    },
    "attention": {"general": 0.6, "attention": MAX_LEN},
    "attention to the newest": {"general": 0.6, "general_len": 7, "attention": 7},
    "all": {"recency": 0.5, "sharing": 0.1, "evolution": 0.3, "general": 2.0, "attention": 40},
}

AS_TRAINED = ServingChoices(MAX_LEN, popularity=0.0)
EQUALLY_POPULAR = np.ones(N_ITEMS, dtype=np.int64)

Pair = tuple[OpalEncoder, OpalInferenceEncoder]


@pytest.fixture
def pair(stage: Stage, tmp_path: Path) -> Pair:
    """An encoder in torch, and what ``load_encoder`` makes of its export."""
    torch.manual_seed(1)
    encoder = OpalEncoder(
        n_items=N_ITEMS, n_interests=4, dim=8, temperature=0.1, general=0.4, positions=MAX_LEN
    )
    export_encoder(encoder, tmp_path / "encoder.safetensors", stage, AS_TRAINED, EQUALLY_POPULAR)
    return encoder, load_opal(tmp_path / "encoder.safetensors")


def rows(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(N_ITEMS, size=length)


def in_torch(encoder: OpalEncoder, history: np.ndarray, stage: Stage) -> np.ndarray:
    with torch.no_grad():
        interests = encoder.interests(torch.from_numpy(history[None, -MAX_LEN:]), stage)
    result: np.ndarray = interests[0].numpy()
    return result


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_interests_are_those_of_the_equations(
    stage: Stage, tmp_path: Path, terms: dict[str, float]
) -> None:
    inference = random_encoder(tmp_path, stage, terms)
    tensors = load_file(tmp_path / "encoder.safetensors")
    for length in (0, 1, 2, 3, 9, MAX_LEN, MAX_LEN + 7):
        history = rows(length, seed=length)
        np.testing.assert_allclose(
            inference.encode(history).vectors,
            interests_of_the_equations(tensors, history, stage, terms, max_len=MAX_LEN),
            rtol=0,
            atol=2e-6,
        )


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_terms_change_neither_weights_nor_counts_nor_assignment(
    stage: Stage, tmp_path: Path, terms: dict[str, float]
) -> None:
    history = rows(13)
    paper = random_encoder(tmp_path, stage, {}).encode(history)
    encoded = random_encoder(tmp_path, stage, terms).encode(history)

    for mine, expected in zip(encoded[1:], paper[1:], strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_an_interest_that_holds_nothing_says_what_the_whole_history_says(tmp_path: Path) -> None:
    soft = random_encoder(tmp_path, "soft", {"sharing": 0.2})
    hard = random_encoder(tmp_path, "hard", {"sharing": 0.2})
    history = np.array([0, 4, 8])  # clusters of tests.bundles: all in the first of four
    encoded = hard.encode(history)

    assert encoded.counts.tolist() == [3, 0, 0, 0]
    np.testing.assert_allclose(
        encoded.vectors[1:], soft.encode(history).vectors[1:], rtol=0, atol=1e-6
    )


def test_where_the_relu_leaves_nothing_a_shared_interest_stays_the_soft_one(
    tmp_path: Path,
) -> None:
    soft = random_encoder(tmp_path, "soft", {"sharing": 0.2})
    random_encoder(tmp_path, "hard", {"sharing": 0.2})
    path = tmp_path / "encoder.safetensors"
    tensors = load_file(path)
    tensors["head.bias"] -= 1000
    write_encoder(path, tensors, {**PAPER_HARD, "sharing": 0.2})
    history = rows(9)

    np.testing.assert_allclose(
        load_opal(path).encode(history).vectors,
        soft.encode(history).vectors,
        rtol=0,
        atol=1e-6,
    )


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
def test_terms_that_were_learned_are_those_of_torch(
    stage: Stage, tmp_path: Path, terms: dict[str, float]
) -> None:
    torch.manual_seed(1)
    encoder = OpalEncoder(
        n_items=N_ITEMS,
        n_interests=4,
        dim=8,
        temperature=0.1,
        sharing=terms.get("sharing", 0.0),
        evolution=min(max(terms.get("evolution", 0.5), 0.01), 0.99),  # training's lie between
        learn_recency=True,
        general=terms.get("general", 0.0),
        general_len=int(terms["general_len"]) if "general_len" in terms else None,
        positions=int(terms["attention"]) if "attention" in terms else None,
    )
    torch.nn.init.constant_(encoder.recency, terms.get("recency", 0.0))
    export_encoder(encoder, tmp_path / "encoder.safetensors", stage, AS_TRAINED, EQUALLY_POPULAR)
    inference = load_opal(tmp_path / "encoder.safetensors")
    for length in (0, 1, 2, 9, MAX_LEN):
        history = rows(length, seed=length)
        np.testing.assert_allclose(
            inference.encode(history).vectors,
            in_torch(encoder, history, stage),
            rtol=0,
            atol=1e-5,
        )


@pytest.mark.parametrize("temperature", [0.05, 0.03, 0.02, 0.01, 0.005])
def test_interests_with_hardly_any_mass_are_those_of_torch(
    stage: Stage, tmp_path: Path, temperature: float
) -> None:
    # Unlikely hyper-categories get e^(−1/τ) of an interaction: 1e-9 to what float32 cannot hold.
    torch.manual_seed(1)
    encoder = OpalEncoder(n_items=N_ITEMS, n_interests=4, dim=8, temperature=temperature)
    export_encoder(encoder, tmp_path / "encoder.safetensors", stage, AS_TRAINED, EQUALLY_POPULAR)
    inference = load_opal(tmp_path / "encoder.safetensors")
    for row in range(N_ITEMS):
        history = np.array([row, row])
        encoded = inference.encode(history)

        np.testing.assert_allclose(
            encoded.vectors, in_torch(encoder, history, stage), rtol=0, atol=1e-4
        )
        np.testing.assert_allclose(np.linalg.norm(encoded.vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 2, 5, MAX_LEN, MAX_LEN + 1, 300])
def test_interests_are_those_of_torch(pair: Pair, stage: Stage, length: int) -> None:
    encoder, inference = pair
    for seed in range(5):
        history = rows(length, seed)
        encoded = inference.encode(history)

        np.testing.assert_allclose(
            encoded.vectors, in_torch(encoder, history, stage), rtol=0, atol=1e-5
        )
        assert encoded.vectors.dtype == np.float32


def test_a_history_in_one_hyper_category_is_that_of_torch(pair: Pair, stage: Stage) -> None:
    encoder, inference = pair
    j = (inference.item_vectors @ inference.hyper_categories.T).argmax(1)
    history = np.flatnonzero(j == np.bincount(j).argmax())
    encoded = inference.encode(history)

    np.testing.assert_allclose(
        encoded.vectors, in_torch(encoder, history, stage), rtol=0, atol=1e-5
    )
    assert sorted(encoded.counts.tolist()) == [0, 0, 0, len(history)]


def test_an_interest_that_the_relu_cuts_to_nothing_is_that_of_torch(
    stage: Stage, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    encoder = OpalEncoder(n_items=N_ITEMS, n_interests=4, dim=8, temperature=0.1)
    torch.nn.init.zeros_(encoder.head.weight)
    torch.nn.init.constant_(encoder.head.bias, -1)
    export_encoder(encoder, tmp_path / "cut.safetensors", stage, AS_TRAINED, EQUALLY_POPULAR)
    history = rows(9)

    np.testing.assert_allclose(
        load_opal(tmp_path / "cut.safetensors").encode(history).vectors,
        in_torch(encoder, history, stage),
        rtol=0,
        atol=1e-5,
    )


def test_item_vectors_are_those_of_torch(pair: Pair) -> None:
    encoder, inference = pair

    np.testing.assert_array_equal(inference.item_vectors, encoder.item_embeddings().detach())
    assert (inference.n_interests, inference.dim, inference.max_len) == (4, 8, MAX_LEN)


def test_weights_and_counts_tell_how_a_history_is_shared(pair: Pair) -> None:
    encoder, inference = pair
    history = rows(12)
    encoded = inference.encode(history)
    of_items = encoder(torch.from_numpy(history[None]), "soft").assignment.detach().numpy()
    in_training = of_items[np.unique(history, return_inverse=True)[1]]

    np.testing.assert_allclose(encoded.assignment, in_training, atol=1e-5)
    np.testing.assert_allclose(encoded.weights, in_training.mean(0), atol=1e-5)
    assert encoded.weights.sum() == pytest.approx(1)
    assert encoded.counts.tolist() == np.bincount(in_training.argmax(1), minlength=4).tolist()


def test_only_the_last_interactions_count(pair: Pair) -> None:
    _, inference = pair
    history = rows(MAX_LEN + 9)

    for mine, last in zip(
        inference.encode(history), inference.encode(history[-MAX_LEN:]), strict=True
    ):
        np.testing.assert_array_equal(mine, last)


def test_an_empty_history_gives_the_hyper_categories(pair: Pair) -> None:
    _, inference = pair
    encoded = inference.encode(np.empty(0, dtype=np.int64))

    np.testing.assert_allclose(encoded.vectors, inference.hyper_categories, atol=1e-6)
    assert not encoded.weights.any()
    assert not encoded.counts.any()
    assert encoded.assignment.shape == (0, 4)


@pytest.mark.parametrize(("k", "dim"), [(1, 5), (4, 16), (8, 64), (5, 100)])
def test_a_result_is_the_same_to_the_bit_whatever_else_is_in_the_batch(
    stage: Stage, tmp_path: Path, k: int, dim: int
) -> None:
    random = np.random.default_rng(0)
    inference = random_encoder(tmp_path, stage, TERMS["all"], k=k, dim=dim)
    histories = [rows(length, seed=length) for length in range(2 * MAX_LEN)]
    alone = [inference.encode(history) for history in histories]

    for size in (1, 2, 3, 7, 16, 2 * MAX_LEN):
        chosen = random.permutation(len(histories))[:size]
        together = inference.encode_batch([histories[number] for number in chosen])
        for number, encoded in zip(chosen, together, strict=True):
            for name in encoded._fields:
                mine, expected = getattr(encoded, name), getattr(alone[number], name)
                assert (mine.dtype, mine.shape) == (expected.dtype, expected.shape)
                assert mine.tobytes() == expected.tobytes()


def test_a_batch_of_nobody_is_empty(pair: Pair) -> None:
    _, inference = pair

    assert inference.encode_batch([]) == []


def test_a_batch_of_empty_histories_gives_the_hyper_categories(pair: Pair) -> None:
    _, inference = pair
    for encoded in inference.encode_batch([rows(0), rows(0)]):
        np.testing.assert_allclose(encoded.vectors, inference.hyper_categories, atol=1e-6)
        assert not encoded.weights.any()


@pytest.mark.parametrize("row", [N_ITEMS, -1, -N_ITEMS - 1])
def test_a_row_outside_the_catalog_is_refused(pair: Pair, row: int) -> None:
    _, inference = pair

    with pytest.raises(IndexError):
        inference.encode(np.array([0, row, 1]))
    with pytest.raises(IndexError):
        inference.encode_batch([rows(3), np.array([0, row, 1])])


def test_a_general_interest_of_more_interactions_than_count_reads_those_that_do(
    stage: Stage, tmp_path: Path
) -> None:
    terms = {"general": 0.6}
    whole = random_encoder(tmp_path, stage, terms)
    beyond = random_encoder(tmp_path, stage, {**terms, "general_len": 2**70})

    history = rows(MAX_LEN + 9)
    np.testing.assert_array_equal(beyond.encode(history).vectors, whole.encode(history).vectors)
