from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from index.bundles.bundle import Bundle, open_bundle
from index.renewal.renewal import add_items
from index.search.quota import largest_remainder
from index.search.withheld import Withheld
from service.answering.matching import (
    Match,
    interests_of,
    match,
    match_together,
    popular_items,
    similar_to,
)
from service.api.answers import InterestsAnswer, SimilarAnswer, StoredAnswer
from service.api.query import Query
from tests.bundles import build_small_bundle, item_id

HISTORY = tuple(item_id(row) for row in (1, 5, 9, 2, 5, 17))
N_ITEMS = 300

histories = st.lists(st.integers(0, N_ITEMS + 20).map(item_id), max_size=30).map(tuple)
id_lists = st.lists(st.integers(0, N_ITEMS + 20).map(item_id), max_size=60).map(
    lambda ids: tuple(sorted(set(ids)))
)
categories = st.lists(st.sampled_from(["genre-0", "genre-1", "evergreen", "none"]), max_size=3)
queries = st.builds(
    Query,
    history=histories,
    top_k=st.integers(1, 60),
    exclude_seen=st.booleans(),
    exclude=id_lists,
    allow=st.none() | categories.filter(bool).map(tuple),
    deny=categories.map(tuple),
    diversity=st.sampled_from([0.0, 0.3, 1.0]),
    aggregation=st.sampled_from(["max", "quota"]),
    explain=st.booleans(),
)
shared_bundle = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def parsed(found: Match) -> StoredAnswer:
    answer: StoredAnswer = orjson.loads(found.stored)
    return answer


def answer_to(bundle: Bundle, query: Query, withheld: Withheld | None = None) -> StoredAnswer:
    return parsed(match(bundle, query, withheld=withheld))


def ids(answer: StoredAnswer) -> list[str]:
    return [candidate["item_id"] for candidate in answer["candidates"]]


def wanted_items(bundle: Bundle, query: Query) -> set[str]:
    """Every item that may be a candidate, worked out one by one."""
    rows = np.arange(bundle.catalog.n_items)
    unwanted = set(query.exclude) | (set(query.history) if query.exclude_seen else set())
    return {
        item
        for item, names in zip(
            bundle.catalog.ids_of(rows), bundle.catalog.categories_of(rows), strict=True
        )
        if item not in unwanted
        and (query.allow is None or set(names) & set(query.allow))
        and not set(names) & set(query.deny)
    }


@shared_bundle
@given(query=queries)
def test_exactly_top_k_wanted_items_come_back_whatever_is_filtered(
    bundle: Bundle, query: Query
) -> None:
    wanted = wanted_items(bundle, query)
    found = ids(answer_to(bundle, query))

    assert len(found) == min(query.top_k, len(wanted))
    assert len(set(found)) == len(found)
    assert set(found) <= wanted


@shared_bundle
@given(query=queries, taken_down=id_lists)
def test_what_is_withheld_is_as_if_the_catalog_did_not_have_it(
    bundle: Bundle, query: Query, taken_down: tuple[str, ...]
) -> None:
    withheld = Withheld.of(bundle.catalog.rows_of(taken_down), bundle.catalog.n_items)
    without = replace(query, exclude=tuple(sorted({*query.exclude, *taken_down})))

    found = answer_to(bundle, query, withheld=withheld)

    assert orjson.dumps(found) == orjson.dumps(answer_to(bundle, without))


@shared_bundle
@given(taken_down=id_lists, n=st.integers(1, 60))
def test_similar_items_leave_out_what_is_withheld(
    bundle: Bundle, taken_down: tuple[str, ...], n: int
) -> None:
    withheld = Withheld.of(bundle.catalog.rows_of(taken_down), bundle.catalog.n_items)
    everything = similar_to(bundle, item_id(7), N_ITEMS)
    found = similar_to(bundle, item_id(7), n, withheld=withheld)

    assert everything is not None
    assert found is not None
    expected = [each["item_id"] for each in everything["candidates"]]
    assert [each["item_id"] for each in found["candidates"]] == [
        each for each in expected if each not in taken_down
    ][:n]


@shared_bundle
@given(query=queries)
def test_the_same_query_has_the_same_answer_to_the_byte(bundle: Bundle, query: Query) -> None:
    assert orjson.dumps(answer_to(bundle, query)) == orjson.dumps(answer_to(bundle, query))


@shared_bundle
@given(together=st.lists(queries, max_size=6), taken_down=id_lists)
def test_queries_answered_together_get_to_the_byte_what_each_gets_alone(
    bundle: Bundle, together: list[Query], taken_down: tuple[str, ...]
) -> None:
    withheld = Withheld.of(bundle.catalog.rows_of(taken_down), bundle.catalog.n_items)

    answers = match_together(bundle, together, withheld=withheld)

    assert answers == [match(bundle, query, withheld=withheld) for query in together]


@shared_bundle
@given(query=queries, shorter=st.integers(1, 60))
def test_a_shorter_answer_is_a_prefix_of_a_longer_one(
    bundle: Bundle, query: Query, shorter: int
) -> None:
    longer = replace(query, diversity=0.0, aggregation="max", top_k=60)
    full = answer_to(bundle, longer)["candidates"]

    assert answer_to(bundle, replace(longer, top_k=shorter))["candidates"] == full[:shorter]


def test_an_explained_answer_is_a_prefix_of_a_longer_one_to_the_byte(tmp_path: Path) -> None:
    bundle = open_bundle(build_small_bundle(tmp_path, n_items=1500, dim=64, max_len=50))
    rng = np.random.default_rng(0)
    for _ in range(20):
        history = tuple(item_id(row) for row in rng.choice(1500, size=50, replace=False))
        query = Query(history=history, top_k=1000, explain=True)
        full = answer_to(bundle, query)["candidates"]
        for shorter in (1, 5, 100):
            answer = answer_to(bundle, replace(query, top_k=shorter))
            assert orjson.dumps(answer["candidates"]) == orjson.dumps(full[:shorter])


@shared_bundle
@given(query=queries)
def test_an_answer_is_what_the_api_promises(bundle: Bundle, query: Query) -> None:
    answer = answer_to(bundle, query)
    adapter = TypeAdapter(StoredAnswer)

    assert adapter.validate_python(answer, strict=True) == answer
    assert [candidate["rank"] for candidate in answer["candidates"]] == list(
        range(1, len(answer["candidates"]) + 1)
    )
    assert all(("because" in candidate) == query.explain for candidate in answer["candidates"])


def test_scores_are_the_largest_inner_product_over_the_interests(bundle: Bundle) -> None:
    rows = bundle.catalog.rows_of(HISTORY)
    products = bundle.encoder.item_vectors @ bundle.encoder.encode(rows).vectors.T
    products[rows] = -1
    expected = np.argsort(-products.max(axis=1), kind="stable")[:20]
    answer = answer_to(bundle, Query(history=HISTORY, top_k=20))

    assert ids(answer) == bundle.catalog.ids_of(expected)
    for candidate, row in zip(answer["candidates"], expected, strict=True):
        assert candidate["score"] == pytest.approx(products[row].max(), abs=1e-6)
        assert candidate["interest"] == products[row].argmax()


def test_unknown_items_are_left_out_and_counted(bundle: Bundle) -> None:
    known = match(bundle, Query(history=HISTORY))
    mixed = match(bundle, Query(history=("nope", *HISTORY, "nix")))

    assert parsed(mixed)["unknown_items"] == 2
    assert parsed(mixed)["candidates"] == parsed(known)["candidates"]
    assert (mixed.known_items, mixed.is_fallback) == (len(HISTORY), False)


@pytest.mark.parametrize("history", [(), ("nope",)])
def test_popular_items_answer_when_nothing_is_known(
    bundle: Bundle, history: tuple[str, ...]
) -> None:
    found = match(bundle, Query(history=history, top_k=10, explain=True))
    counts = bundle.catalog.interactions
    scores = [candidate["score"] for candidate in parsed(found)["candidates"]]

    assert found.is_fallback
    assert parsed(found)["interests"] == []
    assert ids(parsed(found)) == bundle.catalog.ids_of(np.argsort(-counts, kind="stable")[:10])
    assert scores[0] == pytest.approx(counts.max() / counts.sum(), abs=1e-6)
    assert scores == sorted(scores, reverse=True)
    assert parsed(found)["candidates"][0]["interest"] is None
    assert parsed(found)["candidates"][0].get("because") == []


def test_a_log_without_interactions_has_popularity_zero(tmp_path: Path) -> None:
    bundle = open_bundle(build_small_bundle(tmp_path, n_items=20, k=2, dim=4))
    bundle.catalog.interactions = np.zeros(20, dtype=np.int64)

    assert popular_items(bundle, 3, excluded=np.array([-1])).scores.tolist() == [0, 0, 0]


def test_interests_come_largest_first_with_their_strongest_items(bundle: Bundle) -> None:
    summaries = answer_to(bundle, Query(history=HISTORY))["interests"]
    weights = [summary["weight"] for summary in summaries]

    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1, abs=1e-5)
    assert sum(summary["interactions"] for summary in summaries) == len(HISTORY)
    for summary in summaries:
        strongest = summary["strongest_items"]
        assert len({item["item_id"] for item in strongest}) == len(strongest) == 3
        assert {item["item_id"] for item in strongest} <= set(HISTORY)


def test_reasons_are_the_largest_contributions_of_the_history(bundle: Bundle) -> None:
    answer = answer_to(bundle, Query(history=HISTORY, top_k=15, explain=True))
    rows = bundle.catalog.rows_of(HISTORY)
    assignment = bundle.encoder.encode(rows).assignment
    vectors = bundle.encoder.item_vectors
    for candidate in answer["candidates"]:
        assert candidate["interest"] is not None
        row = bundle.catalog.rows_of([candidate["item_id"]])[0]
        expected: dict[str, float] = {}
        for item, share, vector in zip(
            HISTORY, assignment[:, candidate["interest"]], vectors[rows], strict=True
        ):
            expected[item] = expected.get(item, 0) + float(share * (vector @ vectors[row]))
        best = sorted(expected.items(), key=lambda entry: -entry[1])[:3]

        found = candidate["because"]
        assert [reason["item_id"] for reason in found] == [
            item for item, value in best if value > 0
        ]
        for reason in found:
            assert reason["contribution"] == pytest.approx(expected[reason["item_id"]], abs=1e-5)


def test_diversity_changes_the_order_and_keeps_the_first(bundle: Bundle) -> None:
    plain = answer_to(bundle, Query(history=HISTORY, top_k=10))
    varied = answer_to(bundle, Query(history=HISTORY, top_k=10, diversity=0.7))

    assert ids(varied)[0] == ids(plain)[0]
    assert set(ids(varied)) != set(ids(plain))


@pytest.mark.parametrize("diversity", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("top_k", [1, 7, 100])
def test_by_quota_each_interest_gets_its_share(
    bundle: Bundle, diversity: float, top_k: int
) -> None:
    query = Query(history=HISTORY, top_k=top_k, diversity=diversity, aggregation="quota")
    answer = answer_to(bundle, query)
    weights = bundle.encoder.encode(bundle.catalog.rows_of(HISTORY)).weights
    counts = np.bincount(
        [-1 if each["interest"] is None else each["interest"] for each in answer["candidates"]],
        minlength=len(weights),
    )

    assert counts.tolist() == largest_remainder(top_k, weights).tolist()
    if diversity == 0:
        scores = [each["score"] for each in answer["candidates"]]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("aggregation", ["max", "quota"])
def test_lists_are_more_spread_with_more_diversity_on_average(
    tmp_path: Path, aggregation: Literal["max", "quota"]
) -> None:
    bundle = open_bundle(build_small_bundle(tmp_path, n_items=1000, dim=16))
    rng = np.random.default_rng(0)
    # Users of two interests: item r belongs to cluster r % 4.
    liked = [rng.choice(4, 2, replace=False) for _ in range(40)]
    users = [
        tuple(item_id(row) for row in 4 * rng.integers(0, 250, 12) + rng.choice(two, 12))
        for two in liked
    ]
    spread = [
        np.mean(
            [
                mean_distance(
                    bundle, Query(user, top_k=10, diversity=diversity, aggregation=aggregation)
                )
                for user in users
            ]
        )
        for diversity in (0, 0.25, 0.5, 0.75, 1)
    ]

    assert (np.diff(spread[:3]) > 0).all(), spread
    # These clusters are spread as far as they go by then: what still grows is the distance to the
    # nearest one (which diversity looks at), at times at the cost of the mean.
    assert min(spread[3:]) > spread[1], spread


def mean_distance(bundle: Bundle, query: Query) -> float:
    """Mean cosine distance between the candidates."""
    rows = bundle.catalog.rows_of(ids(answer_to(bundle, query)))
    vectors = bundle.encoder.item_vectors[rows]
    return float(1 - (vectors @ vectors.T)[np.triu_indices(len(rows), 1)].mean())


def test_stages_are_measured_in_their_order(bundle: Bundle) -> None:
    seen: list[str] = []

    class Noted:
        def __init__(self, name: str) -> None:
            seen.append(name)

        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

    match(bundle, Query(history=HISTORY), stage=Noted)

    assert seen == ["encode", "search", "rank", "serialise"]


def test_the_vectors_of_interests_are_those_of_the_encoder(bundle: Bundle) -> None:
    answer = interests_of(bundle, [*HISTORY, "nope"])
    encoded = bundle.encoder.encode(bundle.catalog.rows_of(HISTORY))

    assert TypeAdapter(InterestsAnswer).validate_python(answer, strict=True) == answer
    assert answer["unknown_items"] == 1
    assert [entry["weight"] for entry in answer["interests"]] == sorted(
        (entry["weight"] for entry in answer["interests"]), reverse=True
    )
    for entry in answer["interests"]:
        np.testing.assert_allclose(entry["vector"], encoded.vectors[entry["interest"]], atol=1e-6)


def test_without_a_history_there_are_still_k_interests(bundle: Bundle) -> None:
    answer = interests_of(bundle, [])

    assert len(answer["interests"]) == bundle.encoder.n_interests
    assert {entry["weight"] for entry in answer["interests"]} == {0.0}


def test_similar_items_are_the_nearest_without_the_item(bundle: Bundle) -> None:
    answer = similar_to(bundle, item_id(7), 5)
    assert answer is not None
    vectors = bundle.encoder.item_vectors
    similarity = vectors @ vectors[7]
    similarity[7] = -2
    expected = np.argsort(-similarity, kind="stable")[:5]

    assert TypeAdapter(SimilarAnswer).validate_python(answer, strict=True) == answer
    assert [each["item_id"] for each in answer["candidates"]] == bundle.catalog.ids_of(expected)


def test_an_unknown_item_has_no_similar_ones(bundle: Bundle) -> None:
    assert similar_to(bundle, "nope", 5) is None


def test_items_without_a_title_are_named_by_id(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = bundle.catalog
    monkeypatch.setattr(catalog, "titles_of", lambda rows: [None] * len(rows))
    monkeypatch.setattr(
        catalog,
        "members_of",
        lambda rows: [b'"item_id":"%b"' % each.encode() for each in catalog.ids_of(rows)],
    )
    answer = answer_to(bundle, Query(history=HISTORY, top_k=3, explain=True))

    assert b"title" not in orjson.dumps(answer)


def test_a_cold_item_is_marked_as_such(tmp_path: Path) -> None:
    base = build_small_bundle(tmp_path)
    table = tmp_path / "new.csv"
    table.write_text("item_id,similar_to\nnew,item-0001|item-0005|item-0009\n")
    bundle = open_bundle(add_items(base, table, tmp_path / "more").path)

    answer = answer_to(bundle, Query(HISTORY, top_k=200))
    similar = similar_to(bundle, item_id(1), 20)
    of_new = similar_to(bundle, "new", 3)

    TypeAdapter(StoredAnswer).validate_python(answer)
    assert [each["item_id"] for each in answer["candidates"] if "cold" in each] == ["new"]
    assert similar is not None
    assert [each["item_id"] for each in similar["candidates"] if "cold" in each] == ["new"]
    assert of_new is not None
    # It is asked for at unit length: scores are cosines.
    nearest = of_new["candidates"][0]["item_id"]
    vectors = bundle.encoder.item_vectors[bundle.catalog.rows_of([nearest, "new"])]
    expected = vectors[0] @ vectors[1] / np.linalg.norm(vectors[1])
    assert of_new["candidates"][0]["score"] == pytest.approx(expected, abs=1e-5)
