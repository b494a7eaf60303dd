from pathlib import Path

import numpy as np
import pytest

from index.bundles.bundle import Bundle
from index.bundles.probes import (
    N_PROBES,
    check_probes,
    make_probes,
    measure_recall,
    open_probes,
    write_probes,
)
from index.kinds.faiss_files import build_faiss_index
from index.search.retrieval import retrieve
from model.errors import BundleError
from model.inference.loading import ENCODER_FILE, load_encoder
from tests.bundles import write_rival_run


def test_probes_hold_what_the_encoder_used(bundle: Bundle) -> None:
    long = np.arange(50)

    probes = make_probes(bundle.encoder, [np.array([3]), np.array([], dtype=np.int64), long])

    assert probes.lengths.tolist() == [1, 20]
    assert probes.history(0).tolist() == [3]
    assert probes.history(1).tolist() == long[-20:].tolist()
    assert probes.histories[0, 1:].tolist() == [-1] * 19
    assert probes.rows.shape == probes.scores.shape == (2, 100)


def test_probes_are_few_and_never_none(bundle: Bundle) -> None:
    assert len(make_probes(bundle.encoder, [np.array([1])] * 100).lengths) == N_PROBES
    assert make_probes(bundle.encoder, []).lengths.tolist() == [1] * N_PROBES


def test_probes_come_back_from_their_file(bundle: Bundle, tmp_path: Path) -> None:
    probes = make_probes(bundle.encoder, [np.array([3, 4])])
    write_probes(tmp_path, probes)

    for written, opened in zip(probes, open_probes(tmp_path), strict=True):
        np.testing.assert_array_equal(opened, written)


def test_the_exact_answer_is_that_of_retrieve(bundle: Bundle) -> None:
    probes = make_probes(bundle.encoder, [np.array([3, 4])])

    found = retrieve(
        bundle.item_index, probes.interests[0], 100, excluded=np.array([], dtype=np.int64)
    )

    np.testing.assert_allclose(found.scores, probes.scores[0], atol=1e-6)


def test_recall_of_a_flat_index_is_one_and_of_others_less(bundle: Bundle) -> None:
    vectors = bundle.encoder.item_vectors
    probes = make_probes(bundle.encoder, [np.array([row]) for row in range(0, 60, 5)])

    assert measure_recall(build_faiss_index(vectors), vectors, probes) == 1.0
    assert 0.1 < measure_recall(build_faiss_index(vectors, kind="PQ4x4"), vectors, probes) < 0.99


@pytest.mark.parametrize("times", [1, 1000])
def test_rounding_of_long_vectors_costs_no_recall(tmp_path: Path, times: int) -> None:
    """What float32 and float64 make of the same inner product differs with its size."""
    encoder = load_encoder(write_rival_run(tmp_path / "run") / ENCODER_FILE)
    vectors = times * encoder.item_vectors
    probes = make_probes(encoder, [np.array([row, row + 1]) for row in range(20)])
    longer = probes._replace(interests=times * probes.interests, scores=times**2 * probes.scores)

    assert measure_recall(build_faiss_index(vectors), vectors, longer) == 1.0


def test_a_rivals_probes_hold_on_another_machine_that_rounds_differently(tmp_path: Path) -> None:
    encoder = load_encoder(write_rival_run(tmp_path / "run") / ENCODER_FILE)
    item_index = build_faiss_index(encoder.item_vectors)
    probes = make_probes(encoder, [np.array([3, 4])])
    near, far = (
        probes._replace(interests=probes.interests * np.float32(1 + apart))
        for apart in (5e-5, 5e-4)
    )

    assert np.abs(probes.interests).max() > 0.5
    assert check_probes(encoder, item_index, near, 0.9) == 1.0
    with pytest.raises(BundleError, match="the encoder's interests for probe 0 differ by"):
        check_probes(encoder, item_index, far, 0.9)


def test_checking_returns_the_recall(bundle: Bundle) -> None:
    probes = make_probes(bundle.encoder, [np.array([3, 4])])

    assert check_probes(bundle.encoder, bundle.item_index, probes, 0.95) == 1.0


def test_interests_of_another_shape_are_refused(bundle: Bundle) -> None:
    probes = make_probes(bundle.encoder, [np.array([3, 4])])

    with pytest.raises(BundleError, match="encoder fails on probe 0"):
        check_probes(
            bundle.encoder,
            bundle.item_index,
            probes._replace(interests=probes.interests[:, :3]),
            0.9,
        )
