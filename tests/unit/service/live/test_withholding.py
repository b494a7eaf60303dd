import numpy as np
import pytest

from index.bundles.bundle import Bundle, open_bundle
from index.bundles.catalog import Catalog
from index.takedowns.takedowns import Ledger, Takedown
from service.live.live import LiveBundle
from service.live.withholding import TakedownsInForce
from tests.bundles import build_small_bundle, item_id


def ledger_of(*item_ids: str) -> Ledger:
    ledger = Ledger.begin()
    for each in item_ids:
        ledger = ledger.put(Takedown(each, "then"))
    return ledger


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many ids each look-up was for."""
    counts: list[int] = []
    rows_of = Catalog.rows_of

    def counted(self: Catalog, item_ids: list[str]) -> "np.typing.NDArray[np.int64]":
        counts.append(len(item_ids))
        return rows_of(self, item_ids)

    monkeypatch.setattr(Catalog, "rows_of", counted)
    return counts


def test_rows_are_looked_up_once_for_each_bundle_and_change(
    bundle: Bundle, looked_up: list[int]
) -> None:
    in_force = TakedownsInForce()
    in_force.change(ledger_of(item_id(3), "nope"), bundle)
    first = in_force.on(bundle)
    second = in_force.on(bundle)

    assert first.items is second.items
    assert first.items.rows.tolist() == [3]
    assert first.epoch == in_force.epoch
    assert looked_up == [2]

    in_force.change(ledger_of(item_id(3), item_id(1), "nope"), bundle)
    assert in_force.on(bundle).items.rows.tolist() == [1, 3]
    assert looked_up == [2, 3]


def test_each_bundle_has_rows_of_its_own_and_old_ones_are_forgotten(
    tmp_path_factory: pytest.TempPathFactory, looked_up: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("bundles")
    bundles = [
        open_bundle(build_small_bundle(folder, name=str(n), n_items=n)) for n in (10, 20, 30)
    ]
    in_force = TakedownsInForce()
    in_force.change(ledger_of(item_id(15)), None)

    assert [len(in_force.on(each).items.rows) for each in bundles] == [0, 1, 1]
    looked_up.clear()
    for each in reversed(bundles):
        in_force.on(each)
    assert looked_up == [1]


def test_a_pinned_bundle_follows_the_takedowns(bundle: Bundle) -> None:
    live = LiveBundle(bundle)
    pinned = live.pinned()
    live.withhold(ledger_of(item_id(3)))

    assert pinned.takedowns.on(bundle).items.rows.tolist() == [3]


def test_a_worker_without_a_bundle_knows_no_item() -> None:
    live = LiveBundle()
    live.withhold(ledger_of(item_id(3)))

    assert not live.knows(item_id(3))
