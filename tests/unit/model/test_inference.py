"""The encoder without torch: the same interests, and clear words on damage."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from model.errors import InputError
from model.fit import export_encoder
from model.inference import OpalInferenceEncoder, load_encoder
from model.opal import OpalEncoder, Stage

N_ITEMS = 50
MAX_LEN = 20
STAGES: list[Stage] = ["soft", "hard"]

Pair = tuple[OpalEncoder, OpalInferenceEncoder]


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> Stage:
    stage: Stage = request.param
    return stage


@pytest.fixture
def pair(stage: Stage, tmp_path: Path) -> Pair:
    """An encoder in torch, and what ``load_encoder`` makes of its export."""
    torch.manual_seed(1)
    encoder = OpalEncoder(n_items=N_ITEMS, n_interests=4, dim=8, temperature=0.1)
    export_encoder(encoder, tmp_path / "encoder.safetensors", stage, MAX_LEN)
    return encoder, load_encoder(tmp_path / "encoder.safetensors")


def rows(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(N_ITEMS, size=length)


def in_torch(encoder: OpalEncoder, history: np.ndarray, stage: Stage) -> np.ndarray:
    with torch.no_grad():
        interests = encoder(torch.from_numpy(history[None, -MAX_LEN:]), stage).interests
    result: np.ndarray = interests[0].numpy()
    return result


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
    export_encoder(encoder, tmp_path / "cut.safetensors", stage, MAX_LEN)
    history = rows(9)

    np.testing.assert_allclose(
        load_encoder(tmp_path / "cut.safetensors").encode(history).vectors,
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
    in_training = encoder(torch.from_numpy(history[None]), "soft").assignment[0].detach().numpy()

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


def test_a_result_is_the_same_to_the_bit_whatever_else_is_encoded(pair: Pair) -> None:
    _, inference = pair
    history = rows(17)
    before = inference.encode(history)
    for seed in range(20):
        inference.encode(rows(seed, seed))
    after = inference.encode(history.copy())

    for name in before._fields:
        assert getattr(before, name).tobytes() == getattr(after, name).tobytes()


@pytest.mark.parametrize("row", [N_ITEMS, -1, -N_ITEMS - 1])
def test_a_row_outside_the_catalog_is_refused(pair: Pair, row: int) -> None:
    _, inference = pair

    with pytest.raises(IndexError):
        inference.encode(np.array([0, row, 1]))


def test_a_missing_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encoder\.safetensors: no such file"):
        load_encoder(tmp_path / "encoder.safetensors")


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_a_truncated_encoder_is_named(pair: Pair, tmp_path: Path, size: int) -> None:
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(InputError, match=r"encoder\.safetensors: not an OPAL encoder"):
        load_encoder(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"encoder": "{"},
        {"encoder": "[]"},
        {"encoder": "{}"},
        {"encoder": json.dumps({"stage": "soft", "temperature": 0.1})},
        {"encoder": json.dumps({"stage": "hard", "temperature": 0.1, "max_len": 5})},
    ],
    ids=["none", "no json", "a list", "nothing", "no length", "no hard parameters"],
)
def test_tensors_that_are_no_encoder_are_named(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "encoder.safetensors"
    table = np.eye(3, dtype=np.float32)
    save_file({"item_embedding": table, "hyper_category": table}, path, metadata=metadata)

    with pytest.raises(InputError, match="not an OPAL encoder"):
        load_encoder(path)
