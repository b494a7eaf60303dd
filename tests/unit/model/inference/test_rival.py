"""What all rivals' NumPy encoders do alike, on the simplest encoder that there is."""

from typing import Any

import numpy as np
import pytest

from model.arrays import Floats
from model.inference.arithmetic import softmax
from model.inference.reading import read_count, read_tensor
from model.inference.rival import Encoded, RivalInferenceEncoder, read_common, shares_of
from model.tensor_files import Tensors


class OldestAndMean(RivalInferenceEncoder):
    """Two interests: the oldest interaction that is left, and the mean; the first holds all."""

    def encode_vectors(self, vectors: Floats) -> Encoded:
        assignment = np.tile(floats([0.75, 0.25]), (len(vectors), 1))
        return Encoded(np.stack([vectors[0], vectors.mean(axis=0)]), assignment)


def floats(numbers: Any) -> Floats:
    return np.array(numbers, dtype=np.float32)


ITEMS = floats([[3, 4], [0, 2], [1, 0]])


def new_encoder(*, unit_vectors: bool = False, items: Floats = ITEMS) -> OldestAndMean:
    return OldestAndMean(item_vectors=items, n_interests=2, max_len=2, unit_vectors=unit_vectors)


def test_only_the_end_of_a_history_counts() -> None:
    encoder = new_encoder()

    interests = encoder.encode(np.array([2, 2, 0, 1]))

    assert interests.vectors.tolist() == [[3, 4], [1.5, 3]]
    assert interests.assignment.shape == (2, 2)


def test_weights_and_counts_follow_from_the_assignment() -> None:
    interests = new_encoder().encode(np.array([0, 1]))

    assert interests.weights.tolist() == [0.75, 0.25]
    assert interests.counts.tolist() == [2, 0]
    assert interests.counts.dtype == np.int64


def test_interests_are_of_unit_length_where_vectors_are() -> None:
    interests = new_encoder(unit_vectors=True).encode(np.array([0]))

    np.testing.assert_allclose(interests.vectors, [[0.6, 0.8], [0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("unit_vectors", [True, False])
def test_empty_history_gives_the_mean_item_to_every_interest(unit_vectors: bool) -> None:
    interests = new_encoder(unit_vectors=unit_vectors).encode(np.zeros(0, dtype=np.int64))

    mean = ITEMS.mean(axis=0)
    expected = mean / np.linalg.norm(mean) if unit_vectors else mean
    np.testing.assert_allclose(interests.vectors, [expected, expected], rtol=1e-6)
    assert interests.vectors.dtype == interests.weights.dtype == np.float32
    assert interests.weights.tolist() == interests.counts.tolist() == [0, 0]
    assert interests.assignment.shape == (0, 2)


def test_interests_without_direction_stay_finite() -> None:
    encoder = new_encoder(unit_vectors=True, items=np.zeros((3, 2), dtype=np.float32))

    for history in ([], [0, 1]):
        assert not encoder.encode(np.array(history, dtype=np.int64)).vectors.any()


@pytest.mark.parametrize("row", [-1, 3])
def test_row_outside_the_catalog_is_refused(row: int) -> None:
    with pytest.raises(IndexError):
        new_encoder().encode_batch([np.array([0]), np.array([row])])


def test_softmax_of_large_logits_is_finite() -> None:
    assert softmax(floats([[1e4, 0], [1e4, -1e4]]), axis=0).tolist() == [[0.5, 1], [0.5, 0]]


def test_shares_sum_to_one_also_where_all_weights_are_0() -> None:
    assert shares_of(floats([[1, 3], [0, 0]])).tolist() == [[0.25, 0.75], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (None, "w is missing"),
        (np.zeros((2, 3)), "w is float64 of shape .2, 3., expected float32 of .2, any."),
        (np.zeros((3, 3), dtype=np.float32), "w is float32 of shape .3, 3."),
        (np.zeros((2, 0), dtype=np.float32), "w is float32 of shape .2, 0."),
        (np.zeros(2, dtype=np.float32), "w is float32 of shape .2,."),
    ],
)
def test_damaged_tensor_is_named(tensor: Floats | None, message: str) -> None:
    tensors: Tensors = {} if tensor is None else {"w": tensor}

    with pytest.raises(ValueError, match=message):
        read_tensor(tensors, "w", (2, None))


@pytest.mark.parametrize("value", [None, 0, 2.0, True, "2"])
def test_setting_that_is_no_count_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"max_len is .*expected a whole number from 1"):
        read_count({"max_len": value}, "max_len")


def test_common_settings_are_read() -> None:
    common = read_common({"item_embedding": ITEMS}, {"max_len": 7, "unit_vectors": False})

    assert common.item_vectors is ITEMS
    assert (common.max_len, common.unit_vectors) == (7, False)


@pytest.mark.parametrize("value", [None, 1, "on"])
def test_unit_vectors_is_yes_or_no(value: Any) -> None:
    with pytest.raises(ValueError, match="unit_vectors is"):
        read_common({"item_embedding": ITEMS}, {"max_len": 7, "unit_vectors": value})
