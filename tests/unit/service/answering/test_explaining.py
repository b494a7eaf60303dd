"""Explaining by shares that depend on an interaction's place, as those of attention do."""

from pathlib import Path

import numpy as np
import pytest

from index.bundles.build import build_bundle
from index.bundles.bundle import Bundle, open_bundle
from index.search.merging import Candidates
from service.answering.explaining import Explainer
from tests.bundles import write_popular_run, write_rival_run, write_run

HISTORY = np.array([5, 9, 5, 2, 5, 9, 30, 31])


@pytest.fixture(scope="module", params=[write_run, write_popular_run, write_rival_run])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("explaining")
    return open_bundle(build_bundle(request.param(folder / "run"), folder / "bundle").path)


def test_an_items_share_is_the_mean_over_its_occurrences(bundle: Bundle) -> None:
    interests = bundle.encoder.encode(HISTORY)
    strongest = Explainer(bundle, HISTORY, interests).strongest()

    for number, share in enumerate(interests.assignment.T):
        means = {row: share[row == HISTORY].mean() for row in {*HISTORY.tolist()}}
        expected = sorted(means.items(), key=lambda entry: (-entry[1], entry[0]))[:3]
        assert strongest.rows[number].tolist() == [row for row, _ in expected]
        np.testing.assert_allclose(
            strongest.weights[number], [mean for _, mean in expected], rtol=1e-6
        )


def test_an_item_contributes_by_all_its_occurrences(bundle: Bundle) -> None:
    interests = bundle.encoder.encode(HISTORY)
    rows = np.array([40, 41, 42])
    candidates = Candidates(rows, np.ones(3, dtype=np.float32), np.array([0, 1, 3]))
    ours = dict(zip(HISTORY.tolist(), bundle.encoder.history_vectors(HISTORY), strict=True))

    for reasons, row, interest in zip(
        Explainer(bundle, HISTORY, interests).reasons(candidates), *candidates[::2], strict=True
    ):
        share = interests.assignment[:, interest]
        values: dict[int, float] = {}
        for place, item in enumerate(HISTORY.tolist()):
            product = float(share[place] * (ours[item] @ bundle.encoder.item_vectors[row]))
            values[item] = values.get(item, 0.0) + product
        expected = sorted((-value, item) for item, value in values.items() if value > 0)[:3]
        assert [each["item_id"] for each in reasons] == bundle.catalog.ids_of(
            np.array([item for _, item in expected], dtype=np.int64)
        )
        assert [each["contribution"] for each in reasons] == pytest.approx(
            [-value for value, _ in expected], abs=1e-5
        )


def test_opals_shares_of_items_that_come_several_times_are_those_of_one_of_them(
    tmp_path: Path,
) -> None:
    """To the last bit: no rounding comes from adding them up."""
    bundle = open_bundle(
        build_bundle(write_run(tmp_path / "run", max_len=100), tmp_path / "b").path
    )
    random = np.random.default_rng(0)
    for _ in range(50):
        history = random.integers(0, 12, size=int(random.integers(1, 90)))
        interests = bundle.encoder.encode(history)
        rows, first = np.unique(history, return_index=True)
        share = {row: interests.assignment[place] for row, place in zip(rows, first, strict=True)}
        strongest = Explainer(bundle, history, interests).strongest()

        for number in range(4):
            found = strongest.rows[number].tolist()
            assert strongest.weights[number].tolist() == [share[row][number] for row in found]
