"""How long popularity makes an item's vector, and what is encoded and scored with it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from model.config import TrainingConfig
from model.encoder import normalize
from model.errors import InputError
from model.export import export_encoder
from model.inference import loading
from model.inference.loading import load_encoder
from model.model_names import TRAINABLE_MODELS
from model.models import encoder_class
from model.popularity import EXPONENTS, popularity_lengths
from model.run import write_encoder
from model.serving_choices import ServingChoices
from model.tensor_files import map_tensors

N_ITEMS = 30
INTERACTIONS = np.arange(N_ITEMS, 0, -1)


def test_the_most_popular_item_is_of_length_1_and_the_others_by_their_share() -> None:
    lengths = popularity_lengths(np.array([16, 4, 1, 0]), 0.5)

    assert lengths.tolist() == [1.0, 0.5, 0.25, 0.25]
    assert lengths.dtype == np.float32


def test_without_an_exponent_popularity_does_not_count() -> None:
    assert popularity_lengths(INTERACTIONS, 0.0).tolist() == [1.0] * N_ITEMS
    assert EXPONENTS[0] == 0.0


def exported(model: str, path: Path, popularity: float) -> None:
    """Write an encoder as it is before training."""
    torch.manual_seed(2)
    config = TrainingConfig(model=model, dim=8).fitted_to(1000)
    encoder = encoder_class(model).from_config(
        config, n_items=N_ITEMS, n_interests=config.k or 1, max_len=9, sparse_gradients=False
    )
    stage = encoder.stages[-1]
    export_encoder(encoder, path, stage, ServingChoices(9, popularity), INTERACTIONS)


@pytest.mark.parametrize("model", TRAINABLE_MODELS)
def test_items_are_scored_by_popularity_and_histories_are_not(model: str, tmp_path: Path) -> None:
    exported(model, tmp_path / "plain.safetensors", 0.0)
    exported(model, tmp_path / "popular.safetensors", 0.3)
    plain = load_encoder(tmp_path / "plain.safetensors")
    popular = load_encoder(tmp_path / "popular.safetensors")
    rows = np.array([29, 3, 17, 3])

    lengths = popularity_lengths(INTERACTIONS, 0.3)[:, np.newaxis]
    np.testing.assert_allclose(popular.item_vectors, plain.item_vectors * lengths, rtol=1e-6)
    assert plain.unit_vectors
    assert not popular.unit_vectors
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
    assert all(f'"model": "{known}"' not in metadata["encoder"] for known in loading._MODULES)


@pytest.mark.parametrize("exponent", ["much", -0.1, float("inf"), True])
def test_an_exponent_that_is_none_is_refused(exponent: object, tmp_path: Path) -> None:

    exported("sasrec", tmp_path / "popular.safetensors", 0.3)
    tensors, metadata = map_tensors(tmp_path / "popular.safetensors")
    settings = {**json.loads(metadata["encoder"]), "popularity": exponent}
    write_encoder(tmp_path / "wrong.safetensors", dict(tensors), settings)

    with pytest.raises(InputError, match=r"popularity is .*, expected a number from 0"):
        load_encoder(tmp_path / "wrong.safetensors")
