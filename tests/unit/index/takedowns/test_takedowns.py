from hypothesis import given
from hypothesis import strategies as st

from index.takedowns.takedowns import Ledger, Takedown

ids = st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), max_size=8)


def ledger_of(*item_ids: str) -> Ledger:
    ledger = Ledger.begin()
    for each in item_ids:
        ledger = ledger.put(Takedown(each, "then"))
    return ledger


@given(one=ids, other=ids)
def test_the_epoch_is_that_of_the_set(one: set[str], other: set[str]) -> None:
    forwards, backwards = ledger_of(*sorted(one)), ledger_of(*sorted(one, reverse=True))

    assert forwards.epoch == backwards.epoch
    assert (ledger_of(*other).epoch == forwards.epoch) == (one == other)


def test_the_epoch_does_not_run_ids_together() -> None:
    assert ledger_of("ab", "c").epoch != ledger_of("a", "bc").epoch


def test_a_takedown_again_keeps_its_time_and_its_reason() -> None:
    first = Ledger.begin().put(Takedown("a", "then", "why"))

    assert first.put(Takedown("a", "now")) is first
    assert first.put(Takedown("a", "now", "why")) is first
    changed = first.put(Takedown("a", "now", "because"))
    assert changed.takedowns["a"] == Takedown("a", "then", "because")
    assert (changed.revision, changed.epoch) == (first.revision + 1, first.epoch)


def test_what_is_lifted_is_gone_and_the_state_before_is_as_it_was() -> None:
    both = ledger_of("a", "b")
    one = both.lift("a")

    assert set(one.takedowns) == {"b"}
    assert set(both.takedowns) == {"a", "b"}
    assert one.lift("a") is one
    assert one.epoch == ledger_of("b").epoch


def test_a_later_state_of_the_same_history_lost_nothing() -> None:
    known = ledger_of("a", "b")
    later = known.lift("a")

    assert later.follows(known)
    assert later.joined(known) is later


def test_another_history_gets_what_it_lacks() -> None:
    known, other = ledger_of("a", "b"), ledger_of("b", "c")
    joined = other.joined(known)

    assert set(joined.takedowns) == {"a", "b", "c"}
    assert (joined.origin, joined.revision) == (other.origin, other.revision + 1)
    assert joined.joined(known) is joined
    assert other.joined(Ledger()) is other


def test_a_history_that_went_back_goes_on_under_another_name() -> None:
    old = ledger_of("a")
    known = old.put(Takedown("b", "then"))
    joined = old.joined(known)

    assert set(joined.takedowns) == {"a", "b"}
    assert joined.origin != known.origin
    # Else another worker would take it for the state that it knows.
    assert joined.stamp != known.stamp


def test_a_ledger_shows_its_state() -> None:
    assert repr(Ledger("x", 3)) == "<Ledger x 3, 0 takedowns>"
