import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from index.kinds.faiss_files import build_faiss_index
from index.kinds.implementations import build_index
from index.search import retrieval, wanted
from index.search.exact import ExactItemIndex, exact_scores
from index.search.item_index import ItemIndex, SearchResult
from index.search.merging import Candidates
from index.search.retrieval import Wish, retrieve, retrieve_together, similar_items
from index.search.withheld import Withheld
from model.arrays import Floats, Mask, Rows
from tests.bundles import clustered_vectors, unit_rows
from tests.optional import SCANN

NOTHING = np.empty(0, dtype=np.int64)


def top(interests: Floats, vectors: Floats, n: int, unwanted: set[int]) -> Candidates:
    """Score everything, sort everything."""
    scores = np.stack([exact_scores(vectors, each) for each in interests])
    best = scores.max(axis=0)
    rows = [
        row for row in np.lexsort((np.arange(len(vectors)), -best)).tolist() if row not in unwanted
    ]
    kept = np.array(rows[:n], dtype=np.int64)
    return Candidates(kept, best[kept], scores.argmax(axis=0)[kept])


def assert_same(found: Candidates, expected: Candidates) -> None:
    assert found.rows.tolist() == expected.rows.tolist()
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.interests.tolist() == expected.interests.tolist()


def grid(seed: int, shape: tuple[int, int]) -> Floats:
    """Vectors of small integers: every inner product is exact, and many are equal."""
    return np.random.default_rng(seed).integers(-1, 2, size=shape).astype(np.float32)


def set_max_overfetch(patch: pytest.MonkeyPatch, rows: int) -> None:
    for module in (retrieval, wanted):
        patch.setattr(module, "MAX_OVERFETCH", rows)


@pytest.mark.parametrize("kind", ["exact", "faiss"])
@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_items=st.integers(1, 60),
    k=st.integers(1, 5),
    n=st.integers(1, 70),
    data=st.data(),
)
def test_retrieve_is_the_exact_top_n_whatever_is_excluded(  # noqa: PLR0917 - passed by name
    kind: str, seed: int, n_items: int, k: int, n: int, data: st.DataObject
) -> None:
    vectors, interests = grid(seed, (n_items, 4)), grid(seed + 1, (k, 4))
    excluded = data.draw(st.lists(st.integers(-1, n_items - 1), max_size=70))
    mask: NDArray[np.bool_] | None = None
    if data.draw(st.booleans()):
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=n_items, max_size=n_items)))
    unwanted = set(excluded) | (set() if mask is None else set(np.flatnonzero(~mask).tolist()))
    item_index: ItemIndex = (
        ExactItemIndex(vectors) if kind == "exact" else build_faiss_index(vectors)
    )

    found = retrieve(
        item_index, interests, n, excluded=np.array(excluded, dtype=np.int64), allowed=mask
    )

    assert_same(found, top(interests, vectors, n, unwanted))


@pytest.mark.parametrize("most", [0, 3, 4096])
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), n_items=st.integers(1, 60), data=st.data())
def test_retrieve_is_the_exact_top_n_of_what_is_not_withheld(
    most: int, seed: int, n_items: int, data: st.DataObject
) -> None:
    vectors, interests = grid(seed, (n_items, 4)), grid(seed + 1, (2, 4))
    rows = st.lists(st.integers(-1, n_items - 1), max_size=70)
    excluded, withheld = data.draw(rows), data.draw(rows)
    mask: NDArray[np.bool_] | None = None
    if data.draw(st.booleans()):
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=n_items, max_size=n_items)))
    unwanted = {*excluded, *withheld, *(() if mask is None else np.flatnonzero(~mask).tolist())}
    n = data.draw(st.integers(1, 70))

    with pytest.MonkeyPatch.context() as patch:
        set_max_overfetch(patch, most)
        found = retrieve(
            build_faiss_index(vectors),
            interests,
            n,
            excluded=np.array(excluded, dtype=np.int64),
            allowed=mask,
            withheld=Withheld.of(np.array(withheld, dtype=np.int64), n_items),
        )

    assert_same(found, top(interests, vectors, n, unwanted))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), short=st.integers(1, 50), more=st.integers(1, 50))
def test_a_shorter_answer_is_a_prefix_of_a_longer_one(seed: int, short: int, more: int) -> None:
    item_index = build_faiss_index(grid(seed, (200, 5)))
    interests, excluded = grid(seed + 1, (3, 5)), np.arange(0, 200, 7)

    few = retrieve(item_index, interests, short, excluded=excluded)
    many = retrieve(item_index, interests, short + more, excluded=excluded)

    assert_same(few, many.take(slice(short)))


def test_a_catalog_of_equal_items_comes_in_row_order() -> None:
    item_index = build_faiss_index(np.ones((500, 4), dtype=np.float32))
    interests = np.ones((2, 4), dtype=np.float32)

    found = retrieve(item_index, interests, 10, excluded=np.array([0, 3]))

    assert found.rows.tolist() == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert found.interests.tolist() == [0] * 10


def test_many_exclusions_go_into_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    set_max_overfetch(monkeypatch, 3)
    vectors, interests = grid(5, (80, 4)), grid(6, (2, 4))
    excluded = np.arange(0, 80, 2)

    found = retrieve(build_faiss_index(vectors), interests, 9, excluded=excluded)

    assert_same(found, top(interests, vectors, 9, set(excluded.tolist())))


def test_nothing_left_gives_nothing() -> None:
    item_index = build_faiss_index(grid(0, (5, 4)))
    interests = grid(1, (2, 4))

    assert len(retrieve(item_index, interests, 3, excluded=np.arange(5)).rows) == 0
    nowhere = np.zeros(5, dtype=np.bool_)
    assert len(retrieve(item_index, interests, 3, excluded=NOTHING, allowed=nowhere).rows) == 0


def test_the_callers_mask_is_left_alone() -> None:
    allowed = np.ones(5, dtype=np.bool_)

    retrieve(
        build_faiss_index(grid(0, (5, 4))),
        grid(1, (1, 4)),
        2,
        excluded=np.array([1]),
        allowed=allowed,
    )

    assert allowed.all()


def test_no_candidates_wanted_is_refused() -> None:
    with pytest.raises(ValueError, match="n is 0"):
        retrieve(build_faiss_index(grid(0, (5, 4))), grid(1, (1, 4)), 0, excluded=NOTHING)


class CountingIndex(ExactItemIndex):
    """Counts searches and the rows asked for."""

    def __init__(self, item_vectors: Floats) -> None:
        super().__init__(item_vectors)
        self.asked: list[int] = []

    def search(self, queries: Floats, n: int, *, allowed: Mask | None = None) -> SearchResult:
        self.asked.append(n)
        return super().search(queries, n, allowed=allowed)


def test_without_equal_scores_one_search_is_enough() -> None:
    rng = np.random.default_rng(0)
    item_index = CountingIndex(rng.normal(size=(1000, 8)).astype(np.float32))
    excluded: Rows = np.arange(20)

    retrieve(item_index, rng.normal(size=(4, 8)).astype(np.float32), 100, excluded=excluded)

    assert item_index.asked == [128]


def test_many_withheld_rows_do_not_make_the_search_fetch_as_many() -> None:
    rng = np.random.default_rng(0)
    item_index = CountingIndex(rng.normal(size=(10_000, 8)).astype(np.float32))
    withheld = Withheld.of(rng.choice(10_000, 1000, replace=False), 10_000)

    interests = rng.normal(size=(4, 8)).astype(np.float32)
    retrieve(item_index, interests, 100, excluded=NOTHING, withheld=withheld)

    assert item_index.asked == [128]


def test_a_user_right_among_withheld_rows_gets_others(monkeypatch: pytest.MonkeyPatch) -> None:
    set_max_overfetch(monkeypatch, 300)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2000, 8)).astype(np.float32)
    interests = rng.normal(size=(1, 8)).astype(np.float32)
    nearest = np.argsort(-exact_scores(vectors, interests[0]))[:1000]
    item_index = CountingIndex(vectors)

    found = retrieve(
        item_index, interests, 20, excluded=NOTHING, withheld=Withheld.of(nearest, 2000)
    )

    assert_same(found, top(interests, vectors, 20, set(nearest.tolist())))
    # Wider, wider still, then by the mask.
    assert item_index.asked == [64, 256, 32]


@pytest.mark.parametrize("kind", ["HNSW16", "IVF8,Flat", "flat", SCANN])
def test_every_kind_gives_exactly_n_whatever_is_filtered(kind: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(600, 8)).astype(np.float32)
    item_index = build_index(vectors, kind=kind)
    interests = rng.normal(size=(3, 8)).astype(np.float32)
    allowed = np.arange(600) % 3 == 0

    for n in (1, 50, 200):
        assert len(retrieve(item_index, interests, n, excluded=np.arange(300)).rows) == n
        found = retrieve(item_index, interests, n, excluded=np.arange(30), allowed=allowed)
        assert len(found.rows) == min(n, 190)
        withheld = Withheld.of(np.arange(100, 500), 600)
        found = retrieve(
            item_index, interests, n, excluded=np.arange(50), allowed=None, withheld=withheld
        )
        assert len(found.rows) == min(n, 150)
        assert not set(found.rows.tolist()) & set(range(50))
        assert withheld.allowed[found.rows].all()


def test_similar_items_leave_out_the_item_itself() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(100, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    item_index = build_faiss_index(vectors)
    allowed = np.arange(100) % 2 == 1

    plain = similar_items(item_index, vectors, 5, 10)
    filtered = similar_items(item_index, vectors, 5, 10, excluded=np.array([7]), allowed=allowed)

    assert (
        plain.rows.tolist() == [row for row in np.argsort(-(vectors @ vectors[5])) if row != 5][:10]
    )
    assert len(similar_items(item_index, vectors, 5, 1000).rows) == 99
    assert not {5, 7} & set(filtered.rows.tolist())
    withheld = Withheld.of(plain.rows[:3], 100)
    fewer = similar_items(item_index, vectors, 5, 7, withheld=withheld)
    assert fewer.rows.tolist() == plain.rows[3:].tolist()
    assert (filtered.rows % 2 == 1).all()


def test_similar_items_go_by_cosine_where_vectors_are_of_any_length() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(9000, 8)) * rng.uniform(0.1, 9, (9000, 1))).astype(np.float32)
    vectors[77] = 0  # it has no direction
    item_index = build_faiss_index(vectors)
    unit = unit_rows(np.maximum(np.abs(vectors), 1e-9) * np.sign(vectors + 1e-12))
    allowed = np.arange(9000) % 2 == 1
    withheld = Withheld.of(np.array([3, 11]), 9000)

    plain = similar_items(item_index, vectors, 5, 300, unit_vectors=False)
    some = similar_items(
        item_index,
        vectors,
        5,
        9000,
        excluded=np.array([7, -1]),
        allowed=allowed,
        withheld=withheld,
        unit_vectors=False,
    )

    cosines = unit @ unit[5]
    expected = [row for row in np.argsort(-cosines, kind="stable").tolist() if row != 5]
    assert plain.rows.tolist() == expected[:300]
    np.testing.assert_allclose(plain.scores, cosines[plain.rows], atol=1e-6)
    assert {*some.rows.tolist()} == {*range(1, 9000, 2)} - {3, 5, 7, 11}
    alone = similar_items(item_index, vectors, 77, 5, unit_vectors=False)
    assert alone.scores.tolist() == [0] * 5


@pytest.mark.parametrize("kind", ["flat", "ivf-sq", "ivf-pq", "hnsw", SCANN])
def test_users_searched_together_get_what_each_gets_alone(kind: str) -> None:
    vectors = clustered_vectors(3000, 16, 4, np.random.default_rng(1))[0]
    item_index = build_index(vectors, kind=kind)
    rng = np.random.default_rng(2)
    withheld = Withheld.of(rng.integers(0, 3000, 100), 3000)
    wishes = [
        Wish(
            vectors[rng.integers(0, 3000, k)],
            n=int(rng.integers(1, 60)),
            excluded=rng.integers(0, 3000, k * 10),
            allowed=rng.random(3000) < 0.5 if k == 4 else None,
            shares=np.ones(k, dtype=np.float32) if k == 8 else None,
        )
        for k in (1, 4, 8, 4, 2, 8, 3)
    ]

    together = retrieve_together(item_index, wishes, withheld=withheld)

    for wish, found in zip(wishes, together, strict=True):
        interests, n, excluded, allowed, shares = wish
        alone = retrieve(
            item_index, interests, n,
            excluded=excluded, allowed=allowed, shares=shares, withheld=withheld,
        )  # fmt: skip
        assert_same(found, alone)


def test_users_searched_together_share_one_call() -> None:
    class Counting:
        def __init__(self, item_index: ItemIndex) -> None:
            self.item_index, self.calls = item_index, 0
            self.kind, self.dim = item_index.kind, item_index.dim
            self.n_items = item_index.n_items

        def search(self, queries: Floats, n: int, *, allowed: Mask | None = None) -> SearchResult:
            self.calls += 1
            return self.item_index.search(queries, n, allowed=allowed)

    vectors = clustered_vectors(500, 16, 4, np.random.default_rng(1))[0]
    counting = Counting(build_faiss_index(vectors))

    # They have seen 0 to 9 items: each needs another number of answers.
    wishes = [Wish(vectors[i : i + 4], 20, excluded=np.arange(i // 8)) for i in range(0, 80, 4)]

    found = retrieve_together(counting, wishes)

    assert len(found) == 20
    assert counting.calls == 1


@pytest.mark.parametrize(
    "kind", ["ivf-sq", "ivf-sq8", "ivf-pq", "hnsw", "IVF64,PQ8x4fs,RFlat", SCANN]
)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.02, 0.001])
def test_a_restricted_search_finds_what_is_exact_whatever_the_kind(kind: str, share: float) -> None:
    vectors = clustered_vectors(8000, 16, 4, np.random.default_rng(1))[0]
    item_index = build_index(vectors, kind=kind)
    effort = {
        "hnsw": {"efSearch": 200.0},
        "ivf-pq": {"nprobe": 24.0, "rescoring": 6.0},
        # It trains without a seed: some trainings need more of it than others.
        "scann": {"leaves": 32.0, "rescoring": 5.0},
    }
    item_index.operate_at(
        effort.get(kind, {"nprobe": 24.0, **({"k_factor_rf": 6.0} if "RFlat" in kind else {})})
    )
    rng = np.random.default_rng(2)
    hits = wanted = 0
    for _ in range(20):
        allowed = rng.random(len(vectors)) < share
        interests = unit_rows(vectors[rng.integers(0, 2000, (4, 3)) * 4].mean(axis=1))
        seen = rng.integers(0, len(vectors), 50)

        found = retrieve(item_index, interests, 100, excluded=seen, allowed=allowed)

        reachable = allowed.copy()
        reachable[seen] = False
        exact = top(interests, vectors, 100, set(np.flatnonzero(~reachable).tolist()))
        assert reachable[found.rows].all()
        # Never fewer than there are.
        assert len(found.rows) == len(exact.rows) == min(100, reachable.sum())
        hits += len(set(found.rows.tolist()) & set(exact.rows.tolist()))
        wanted += len(exact.rows)

    assert hits / wanted > 0.9


@pytest.mark.parametrize("kind", ["ivf-sq", "ivf-pq", "hnsw", "IVF64_HNSW8,Flat", SCANN])
def test_a_restriction_to_what_lies_far_from_the_user_finds_it(kind: str) -> None:
    """Such as a user who denies the favourite category: the lists nearby hold nothing allowed."""
    vectors, _, cluster = clustered_vectors(8000, 16, 8, np.random.default_rng(1))
    item_index = build_index(vectors, kind=kind)
    effort = {
        "hnsw": {"efSearch": 100.0},
        "ivf-pq": {"nprobe": 16.0, "rescoring": 6.0},
        "scann": {"leaves": 16.0, "rescoring": 3.0},
    }
    item_index.operate_at(effort.get(kind, {"nprobe": 16.0}))
    rng = np.random.default_rng(2)
    recalls = []
    for user in range(16):
        liked = user % 8
        interests = unit_rows(vectors[rng.integers(0, 1000, (4, 3)) * 8 + liked].mean(axis=1))
        allowed = (cluster - liked) % 8 > 3

        found = retrieve(item_index, interests, 100, excluded=NOTHING, allowed=allowed)

        exact = top(interests, vectors, 100, set(np.flatnonzero(~allowed).tolist()))
        recalls.append(len(set(found.rows.tolist()) & set(exact.rows.tolist())) / 100)

    assert np.mean(recalls) > 0.85
    assert min(recalls) > 0.6
