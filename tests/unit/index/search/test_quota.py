import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.kinds.faiss_files import build_faiss_index
from index.kinds.implementations import build_index
from index.search.exact import ExactItemIndex, exact_scores
from index.search.item_index import NO_ROW, SearchResult
from index.search.merging import Candidates
from index.search.quota import largest_remainder, merge_by_quota
from index.search.retrieval import retrieve
from index.search.withheld import Withheld
from model.arrays import Floats
from tests.optional import SCANN

weight_lists = st.lists(
    st.one_of(st.just(0.0), st.floats(0, 1, width=32)), min_size=1, max_size=6
).filter(lambda weights: sum(weights) > 0)
NOTHING = np.empty(0, dtype=np.int64)


def result(scores: list[list[float]], rows: list[list[int]]) -> SearchResult:
    return SearchResult(np.array(scores, dtype=np.float32), np.array(rows, dtype=np.int64))


def grid(seed: int, shape: tuple[int, int]) -> Floats:
    """Vectors of small integers: every inner product is exact, and many are equal."""
    return np.random.default_rng(seed).integers(-1, 2, size=shape).astype(np.float32)


def by_hand(interests: Floats, vectors: Floats, quotas: list[int], wanted: set[int]) -> Candidates:
    """Score every pair, take the best one that can be taken, again and again."""
    scores = np.stack([exact_scores(vectors, each) for each in interests])
    pairs = sorted(
        (-float(scores[interest, row]), row, interest)
        for interest in range(len(interests))
        for row in wanted
    )
    left, chosen = list(quotas), list[tuple[float, int, int]]()
    while len(chosen) < min(sum(quotas), len(wanted)):
        taken = {row for _, row, _ in chosen}
        best = next(pair for pair in pairs if pair[1] not in taken and left[pair[2]] > 0)
        chosen.append(best)
        left[best[2]] -= 1
    chosen.sort()
    return Candidates(
        np.array([row for _, row, _ in chosen], dtype=np.int64),
        np.array([-score for score, _, _ in chosen], dtype=np.float32),
        np.array([interest for _, _, interest in chosen], dtype=np.int64),
    )


@given(n=st.integers(0, 1000), weights=weight_lists)
def test_places_add_up_and_lie_within_one_of_their_share(n: int, weights: list[float]) -> None:
    precise = np.array(weights, dtype=np.float32).astype(np.float64)
    quotas = largest_remainder(n, np.array(weights, dtype=np.float32))

    assert quotas.sum() == n
    assert (quotas >= 0).all()
    assert (np.abs(quotas - n * precise / precise.sum()) < 1 + 1e-6).all()
    assert (quotas[precise == 0] == 0).all()


@given(n=st.integers(1, 300), more=st.integers(0, 700), weights=weight_lists)
def test_a_larger_pool_in_proportion_to_quotas_holds_them(
    n: int, more: int, weights: list[float]
) -> None:
    quotas = largest_remainder(n, np.array(weights, dtype=np.float32))

    assert (largest_remainder(n + more, quotas) >= quotas).all()


@pytest.mark.parametrize(
    ("n", "weights", "expected"),
    [
        (10, [0.5, 0.3, 0.2], [5, 3, 2]),
        (10, [0.55, 0.25, 0.2], [6, 2, 2]),
        (1, [0.25, 0.25, 0.25, 0.25], [1, 0, 0, 0]),
        (6, [0.25, 0.25, 0.25, 0.25], [2, 2, 1, 1]),
        (7, [0, 3, 0], [0, 7, 0]),
        (2, [0.49, 0.49, 0.02], [1, 1, 0]),
    ],
)
def test_largest_remainders_by_hand(n: int, weights: list[float], expected: list[int]) -> None:
    assert largest_remainder(n, np.array(weights, dtype=np.float32)).tolist() == expected


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -0.5], [np.nan], [np.inf]])
def test_weights_that_cannot_be_divided_by_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights are"):
        largest_remainder(3, np.array(weights, dtype=np.float32))


def test_the_best_pair_goes_first_and_the_others_go_on_down_their_lists() -> None:
    lists = result([[0.9, 0.8, 0.7], [0.85, 0.6, 0.1]], [[1, 2, 3], [1, 4, 2]])
    merged = merge_by_quota(lists, np.array([1, 2]))

    # Item 1 counts for interest 0, whose only place it takes; item 2 then counts for interest 1.
    assert merged.rows.tolist() == [1, 4, 2]
    assert merged.interests.tolist() == [0, 1, 1]
    np.testing.assert_allclose(merged.scores, [0.9, 0.6, 0.1])


def test_places_that_cannot_be_filled_go_to_the_best_that_are_left() -> None:
    lists = result([[0.9, 0.8, 0.7], [0.5, -np.inf, -np.inf]], [[1, 2, 3], [1, NO_ROW, NO_ROW]])

    assert merge_by_quota(lists, np.array([1, 2])).rows.tolist() == [1, 2, 3]
    assert merge_by_quota(lists, np.array([0, 2])).rows.tolist() == [2, 1]
    assert merge_by_quota(lists, np.array([5, 5])).rows.tolist() == [1, 2, 3]


def test_equal_scores_come_in_row_order_and_count_for_the_lower_interest() -> None:
    lists = result([[0.5, 0.5], [0.5, 0.5]], [[9, 4], [4, 7]])
    merged = merge_by_quota(lists, np.array([2, 1]))

    assert merged.rows.tolist() == [4, 7, 9]
    assert merged.interests.tolist() == [0, 1, 0]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_items=st.integers(1, 50),
    n=st.integers(1, 60),
    weights=weight_lists,
    data=st.data(),
)
def test_retrieval_by_quota_is_the_exact_one_whatever_is_left_out(
    seed: int, n_items: int, n: int, weights: list[float], data: st.DataObject
) -> None:
    vectors, interests = grid(seed, (n_items, 4)), grid(seed + 1, (len(weights), 4))
    rows = st.lists(st.integers(-1, n_items - 1), max_size=40)
    excluded, withheld = data.draw(rows), data.draw(rows)
    allowed = None
    if data.draw(st.booleans()):
        allowed = np.array(data.draw(st.lists(st.booleans(), min_size=n_items, max_size=n_items)))
    wanted = set(range(n_items)) - {*excluded, *withheld}
    if allowed is not None:
        wanted &= set(np.flatnonzero(allowed).tolist())

    found = retrieve(
        build_faiss_index(vectors),
        interests,
        n,
        shares=np.array(weights, dtype=np.float32),
        excluded=np.array(excluded, dtype=np.int64),
        allowed=allowed,
        withheld=Withheld.of(np.array(withheld, dtype=np.int64), n_items),
    )

    count = min(n, len(wanted))
    quotas = largest_remainder(count, np.array(weights, dtype=np.float32))
    expected = by_hand(interests, vectors, quotas.tolist(), wanted)
    assert len(set(found.rows.tolist())) == len(found.rows) == count
    assert found.rows.tolist() == expected.rows.tolist()
    assert found.interests.tolist() == expected.interests.tolist()
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert np.bincount(found.interests, minlength=len(weights)).tolist() == quotas.tolist()


@pytest.mark.parametrize("only", [0, 1, 2])
def test_all_weight_on_one_interest_gives_its_own_list(only: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 8)).astype(np.float32)
    interests = rng.normal(size=(3, 8)).astype(np.float32)
    weights = np.zeros(3, dtype=np.float32)
    weights[only] = 1

    item_index = ExactItemIndex(vectors)
    found = retrieve(item_index, interests, 20, shares=weights, excluded=NOTHING)

    own = item_index.search(interests[only : only + 1], 20)
    assert found.rows.tolist() == own.rows[0].tolist()
    assert set(found.interests.tolist()) == {only}


@pytest.mark.parametrize("kind", ["HNSW16", "IVF8,Flat", SCANN])
def test_an_approximate_kind_gives_exactly_n_in_their_shares(kind: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 8)).astype(np.float32)
    interests = rng.normal(size=(3, 8)).astype(np.float32)
    weights = np.array([0.7, 0.2, 0.1], dtype=np.float32)
    item_index = build_index(vectors, kind=kind)

    found = retrieve(item_index, interests, 50, shares=weights, excluded=np.arange(300))

    assert len(set(found.rows.tolist())) == 50
    assert np.bincount(found.interests).tolist() == [35, 10, 5]
    assert (found.rows >= 300).all()
