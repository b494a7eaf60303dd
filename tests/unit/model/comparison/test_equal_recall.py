import pytest

from model.comparison.equal_recall import at_recall
from model.comparison.results import Spread


def point(diversity: float, recall: float, distance: float) -> dict[str, Spread]:
    values = {"diversity": diversity, "recall@50": recall, "ild_cooccurrence@50": distance}
    return {name: Spread(value, None) for name, value in values.items()}


POINTS = [point(0.0, 0.30, 0.5), point(0.1, 0.31, 0.6), point(0.2, 0.20, 0.8)]


def test_between_two_points_it_is_on_a_straight_line() -> None:
    found = at_recall(POINTS, 0.255)

    assert found == pytest.approx(
        {"diversity": 0.15, "recall@50": 0.255, "ild_cooccurrence@50": 0.7}
    )


def test_it_is_the_most_variety_that_leaves_the_recall() -> None:
    assert at_recall(POINTS, 0.31) == pytest.approx(
        {"diversity": 0.1, "recall@50": 0.31, "ild_cooccurrence@50": 0.6}
    )
    assert at_recall(POINTS, 0.1) == pytest.approx(
        {"diversity": 0.2, "recall@50": 0.2, "ild_cooccurrence@50": 0.8}
    )


def test_what_is_not_known_at_both_points_is_left_out() -> None:
    unknown = {name: value for name, value in POINTS[2].items() if name != "ild_cooccurrence@50"}

    assert set(at_recall([*POINTS[:2], unknown], 0.255)) == {"diversity", "recall@50"}
