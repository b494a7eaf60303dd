"""What ``auto`` chooses; the times that it goes by are measured, so they are not asserted."""

import numpy as np
import pytest

from index.bundles import choice
from index.bundles.choice import choose_index
from index.bundles.tuning import Interests, know_exactly
from index.kinds.kinds import AUTO_FLAT_ITEMS, named_kinds
from model.arrays import Floats
from model.errors import InputError
from tests.bundles import clustered_vectors
from tests.optional import needs_scann

N_ITEMS, DIM = 9000, 16


@pytest.fixture(scope="module")
def vectors() -> Floats:
    return clustered_vectors(N_ITEMS, DIM, 4, np.random.default_rng(1))[0]


@pytest.fixture(scope="module")
def interests(vectors: Floats) -> Floats:
    return vectors[np.random.default_rng(2).integers(0, N_ITEMS, (30, 4))]


def take_exact_search_for(monkeypatch: pytest.MonkeyPatch, milliseconds: float) -> None:
    """Let the exact search seem to take so long: which is faster must not be left to chance."""

    def know(item_vectors: Floats, interests: Floats) -> Interests:
        return know_exactly(item_vectors, interests)._replace(flat_milliseconds=milliseconds)

    monkeypatch.setattr(choice, "know_exactly", know)


def test_a_small_catalog_is_flat_without_trial(interests: Floats) -> None:
    vectors = clustered_vectors(AUTO_FLAT_ITEMS, DIM, 4, np.random.default_rng(1))[0]

    chosen = choose_index(vectors, interests, kind="auto", target_recall=0.95)

    assert chosen.item_index.kind == "flat"
    assert chosen.point is None
    assert chosen.curve == []


def test_a_larger_one_is_approximate_where_that_is_faster(
    vectors: Floats, interests: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_exact_search_for(monkeypatch, 1e6)

    chosen = choose_index(vectors, interests, kind="auto", target_recall=0.97)

    assert chosen.item_index.kind == "ivf-sq"
    assert chosen.point is not None
    assert chosen.point in chosen.curve
    assert chosen.point.recall >= 0.97
    assert chosen.item_index.parameters == chosen.point.parameters


def test_auto_is_never_slower_than_flat(
    vectors: Floats, interests: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_exact_search_for(monkeypatch, 1e-6)

    chosen = choose_index(vectors, interests, kind="auto", target_recall=0.95)

    assert chosen.item_index.kind == "flat"
    assert chosen.point is not None
    assert chosen.point.recall == 1.0


@pytest.mark.parametrize(("bytes_per_item", "kind"), [(45, "ivf-sq"), (30, "ivf-sq8")])
def test_less_memory_takes_coarser_codes(
    bytes_per_item: int, kind: str, vectors: Floats, interests: Floats
) -> None:
    memory = bytes_per_item * N_ITEMS

    chosen = choose_index(vectors, interests, kind="auto", target_recall=0.9, memory=memory)

    # Flat does not fit, however fast it is.
    assert chosen.item_index.kind == kind
    assert named_kinds(N_ITEMS, DIM)[kind].bytes_per_item <= bytes_per_item


def test_a_promise_that_does_not_fit_the_memory_is_refused(
    vectors: Floats, interests: Floats
) -> None:
    with pytest.raises(InputError, match=r"--memory: no kind .* keeps --recall 0\.95 in 9,000"):
        choose_index(vectors, interests, kind="auto", target_recall=0.95, memory=N_ITEMS)


@pytest.mark.parametrize(
    ("kind", "parameter"),
    [("hnsw", "efSearch"), pytest.param("scann", "leaves", marks=needs_scann)],
)
def test_a_named_kind_is_tuned_to_the_promise(
    kind: str, parameter: str, vectors: Floats, interests: Floats
) -> None:
    low = choose_index(vectors, interests, kind=kind, target_recall=0.5)
    high = choose_index(vectors, interests, kind=kind, target_recall=0.99)

    assert low.point is not None
    assert high.point is not None
    assert high.point.recall >= 0.99
    assert low.point.parameters[parameter] <= high.point.parameters[parameter]


def test_a_kind_that_cannot_keep_the_promise_is_named(vectors: Floats, interests: Floats) -> None:
    with pytest.raises(InputError, match=r"--kind PQ4x4: finds 0\.\d+ .* take --kind flat"):
        choose_index(vectors, interests, kind="PQ4x4", target_recall=0.99)


def test_a_kind_that_was_asked_for_may_be_slow(
    vectors: Floats, interests: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_exact_search_for(monkeypatch, 1e-6)

    chosen = choose_index(vectors, interests, kind="hnsw", target_recall=0.99)

    assert chosen.point is not None
    assert chosen.point.recall >= 0.99


@pytest.mark.parametrize("kind", ["ivf-sq", "ivf-sq8", "IVF1,Flat"])
@pytest.mark.parametrize("n_items", [1, 2, 39])
def test_an_inverted_file_of_one_list_has_nothing_to_tune(kind: str, n_items: int) -> None:
    vectors = clustered_vectors(n_items, DIM, 1, np.random.default_rng(1))[0]

    chosen = choose_index(vectors, vectors[np.newaxis, :1], kind=kind, target_recall=0.9)

    assert chosen.point is not None
    assert chosen.point.recall >= 0.9


def test_auto_passes_over_a_kind_that_faiss_cannot_train() -> None:
    vectors = clustered_vectors(10, DIM, 1, np.random.default_rng(1))[0]

    with pytest.raises(InputError, match=r"--memory: no kind"):
        choose_index(vectors, vectors[np.newaxis, :1], kind="auto", target_recall=0.9, memory=140)


def test_polysemous_codes_do_not_pass_brute_force_for_recall(
    vectors: Floats, interests: Floats
) -> None:
    chosen = choose_index(vectors, interests, kind="IVF32,PQ8", target_recall=0.1)

    assert chosen.point is not None
    assert set(chosen.point.parameters) == {"nprobe"}
    assert chosen.point.recall < 1
