import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from index.search.item_index import NO_ROW, SearchResult
from index.search.merging import merge_interests


def result(scores: list[list[float]], rows: list[list[int]]) -> SearchResult:
    return SearchResult(np.array(scores, dtype=np.float32), np.array(rows, dtype=np.int64))


def test_merge_keeps_the_best_score_of_an_item() -> None:
    merged = merge_interests(result([[0.9, 0.5], [0.8, 0.7]], [[1, 2], [2, 3]]))

    assert merged.rows.tolist() == [1, 2, 3]
    np.testing.assert_allclose(merged.scores, [0.9, 0.8, 0.7])
    assert merged.interests.tolist() == [0, 1, 1]


def test_merge_orders_equal_scores_by_row_and_takes_the_lower_interest() -> None:
    merged = merge_interests(result([[0.5, 0.5], [0.5, 0.5]], [[9, 4], [4, 7]]))

    assert merged.rows.tolist() == [4, 7, 9]
    assert merged.interests.tolist() == [0, 1, 0]


def test_merge_leaves_out_what_was_not_found() -> None:
    merged = merge_interests(result([[0.5, -np.inf]], [[3, NO_ROW]]))
    nothing = merge_interests(result([[-np.inf]], [[NO_ROW]]))

    assert merged.rows.tolist() == [3]
    assert nothing.rows.tolist() == []
    assert nothing.rows.dtype == np.int64
    assert nothing.scores.dtype == np.float32


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20), st.data())
def test_merge_ranks_by_score_then_row_for_every_float(
    values: list[float], data: st.DataObject
) -> None:
    values += values[:3]  # some are equal
    rows = data.draw(st.permutations(range(len(values))))

    merged = merge_interests(result([values], [list(rows)]))

    scores = np.array(values, dtype=np.float32)
    expected = sorted(zip((-scores).tolist(), rows, strict=True))
    assert merged.rows.tolist() == [row for _, row in expected]


@given(st.data())
def test_merge_equals_a_dictionary_of_maxima(data: st.DataObject) -> None:
    k, n = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 8))
    rows = [data.draw(st.permutations(range(10)))[:n] for _ in range(k)]
    scores = [
        sorted(data.draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n)))[::-1]
        for _ in range(k)
    ]
    best: dict[int, tuple[float, int]] = {}
    for interest in range(k):
        for row, score in zip(rows[interest], scores[interest], strict=True):
            if row not in best or score > best[row][0]:
                best[row] = (score, interest)
    expected = sorted((-score, row, interest) for row, (score, interest) in best.items())

    merged = merge_interests(
        result([[float(s) for s in each] for each in scores], [list(r) for r in rows])
    )

    found = zip(
        (-merged.scores).tolist(), merged.rows.tolist(), merged.interests.tolist(), strict=True
    )
    assert list(found) == expected
