"""How long popularity makes an item's vector, and what is encoded and scored with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.config.data_size import MANY_USERS
from model.config.training_config import TrainingConfig
from model.encoder import normalize
from model.errors import InputError
from model.inference import loading
from model.inference.loading import load_encoder
from model.model_names import TRAINABLE_MODELS
from model.models import encoder_class
from model.run import write_encoder
from model.tensor_files import map_tensors
from model.training.export import export_encoder
from model.training.popularity import EXPONENTS, popularity_lengths
from model.training.serving_choices import ServingChoices

N_ITEMS = 30
INTERACTIONS = np.arange(N_ITEMS, 0, -1)


def test_the_most_popular_item_is_of_length_1_and_the_others_by_their_share() -> None:
    lengths = popularity_lengths(np.array([16, 4, 1, 0]), 0.5)

    assert lengths.tolist() == [1.0, 0.5, 0.25, 0.25]
    assert lengths.dtype == np.float32


def test_without_an_exponent_popularity_does_not_count() -> None:
    assert popularity_lengths(INTERACTIONS, 0.0).tolist() == [1.0] * N_ITEMS
    assert EXPONENTS[0] == 0.0


def exported(model: str, path: Path, popularity: float, n_users: int = 100) -> None:
    """Write an encoder as it is before training."""
    torch.manual_seed(2)
    config = TrainingConfig(model=model, dim=8).fitted_to(n_users)
    encoder = encoder_class(model).from_config(
        config, n_items=N_ITEMS, n_interests=config.k or 1, max_len=9, sparse_gradients=False
    )
    stage = encoder.stages[-1]
    export_encoder(encoder, path, stage, ServingChoices(9, popularity), INTERACTIONS)


@pytest.mark.parametrize(
    ("model", "n_users"), [*((model, 100) for model in TRAINABLE_MODELS), ("opal", MANY_USERS)]
)
def test_items_are_scored_by_popularity_and_histories_are_not(
    model: str, n_users: int, tmp_path: Path
) -> None:
    exported(model, tmp_path / "plain.safetensors", 0.0, n_users)
    exported(model, tmp_path / "popular.safetensors", 0.3, n_users)
    plain = load_encoder(tmp_path / "plain.safetensors")
    popular = load_encoder(tmp_path / "popular.safetensors")
    rows = np.array([29, 3, 17, 3])

    lengths = popularity_lengths(INTERACTIONS, 0.3)[:, np.newaxis]
    np.testing.assert_allclose(popular.item_vectors, plain.item_vectors * lengths, rtol=1e-6)
    assert plain.unit_vectors
    assert popular.unit_vectors
    assert plain.item_lengths is None
    np.testing.assert_array_equal(popular.item_lengths, lengths[:, 0])
    np.testing.assert_allclose(
        popular.history_vectors(rows), plain.history_vectors(rows), rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(plain.history_vectors(rows), plain.item_vectors[rows])
    for vectors in (popular.encode(rows).vectors, popular.encode_batch([rows])[0].vectors):
        np.testing.assert_allclose(vectors, plain.encode(rows).vectors, rtol=0, atol=1e-5)
    assert torch.allclose(
        normalize(torch.tensor(popular.item_vectors)), torch.tensor(plain.item_vectors), atol=1e-6
    )


@pytest.mark.parametrize("model", ["opal", "cmi"])
def test_programs_that_know_no_popularity_refuse_the_file(model: str, tmp_path: Path) -> None:
    exported(model, tmp_path / "popular.safetensors", 0.3)

    _, metadata = map_tensors(tmp_path / "popular.safetensors")
    assert json.loads(metadata["encoder"])["model"] not in loading._MODULES


@pytest.mark.parametrize(
    ("changed", "settings", "why"),
    [
        (None, {}, "model is sasrec.popularity, but item_length is missing"),
        (np.ones(N_ITEMS, dtype=np.float32), {"model": "sasrec"}, "but item_length is there"),
        (np.ones(N_ITEMS, dtype=np.int32), {}, "item_length is int32 of shape"),
        (np.ones(N_ITEMS - 1, dtype=np.float32), {}, "expected float32 of"),
        (np.zeros(N_ITEMS, dtype=np.float32), {}, "no number above 0"),
        (np.full(N_ITEMS, np.inf, dtype=np.float32), {}, "no number above 0"),
        (np.full(N_ITEMS, np.nan, dtype=np.float32), {}, "no number above 0"),
        (np.ones(N_ITEMS, dtype=np.float32), {"unit_vectors": False}, "unit_vectors is false"),
    ],
)
def test_lengths_that_nothing_can_be_encoded_with_are_refused(
    changed: NDArray[Any] | None, settings: dict[str, Any], why: str, tmp_path: Path
) -> None:
    exported("sasrec", tmp_path / "popular.safetensors", 0.3)
    tensors, metadata = map_tensors(tmp_path / "popular.safetensors")
    tensors = {name: each for name, each in tensors.items() if name != "item_length"}
    if changed is not None:
        tensors["item_length"] = changed
    said = {**json.loads(metadata["encoder"]), **settings}
    write_encoder(tmp_path / "wrong.safetensors", tensors, said)

    with pytest.raises(InputError, match=why):
        load_encoder(tmp_path / "wrong.safetensors")
