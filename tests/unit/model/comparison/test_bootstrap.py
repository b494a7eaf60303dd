"""Intervals of paired differences."""

import numpy as np
import pytest

from model.comparison.bootstrap import Interval, paired_intervals


def test_it_is_near_the_interval_of_the_normal_distribution() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, size=2_000)
    error = values.std() / np.sqrt(len(values))

    (found,) = paired_intervals([values])

    assert found.difference == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.05 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.05 * error)


def test_pairs_are_resampled_alike_and_each_as_if_alone() -> None:
    random = np.random.default_rng(1)
    first, second = random.normal(size=(2, 500))

    together = paired_intervals([first, second, -first])

    assert together[0].low == pytest.approx(-together[2].high)
    assert together[0] == pytest.approx(paired_intervals([first])[0], abs=0.01)


def test_the_same_users_give_the_same_interval() -> None:
    values = np.random.default_rng(2).normal(size=300)

    assert paired_intervals([values]) == paired_intervals([values])


def test_users_who_are_all_alike_leave_no_doubt() -> None:
    (found,) = paired_intervals([np.full(50, 0.25)])

    assert found == Interval(0.25, 0.25, 0.25)
    assert found.verdict == "ahead"


def test_one_user_tells_nothing() -> None:
    (found,) = paired_intervals([np.array([0.7])])

    assert found.verdict == "not told apart"


def test_without_pairs_there_is_nothing() -> None:
    assert paired_intervals([]) == []


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.2, "ahead"), (-0.2, -0.1, "behind"), (-0.1, 0.1, "not told apart")],
)
def test_the_verdict_is_by_what_the_interval_excludes(
    low: float, high: float, verdict: str
) -> None:
    assert Interval((low + high) / 2, low, high).verdict == verdict
