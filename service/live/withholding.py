"""The takedowns that a worker has in force, as rows of the bundles that it serves."""

from dataclasses import dataclass, field
from typing import NamedTuple

from index.bundles.bundle import Bundle
from index.search.withheld import Withheld
from index.takedowns.takedowns import Ledger

# During a swap there are two.
_MAX_BUNDLES = 2


class Withholding(NamedTuple):
    """What one bundle must not serve.

    Attributes:
        epoch: Digest of the takedowns.
        items: Their rows.
    """

    epoch: str
    items: Withheld


@dataclass(frozen=True)
class _InForce:
    """A ledger, and its rows by version of the bundles that asked."""

    ledger: Ledger
    withheld: dict[str, Withheld] = field(default_factory=dict)


class TakedownsInForce:
    """The one reference that a takedown changes; rows are looked up once per bundle and change."""

    def __init__(self) -> None:
        self._in_force = _InForce(Ledger())

    @property
    def ledger(self) -> Ledger:
        """All takedowns in force."""
        return self._in_force.ledger

    @property
    def epoch(self) -> str:
        """Digest of the takedowns in force."""
        return self._in_force.ledger.epoch

    def change(self, ledger: Ledger, bundle: Bundle | None) -> None:
        """Put other takedowns in force.

        Args:
            ledger: All of them.
            bundle: The live bundle, whose rows are looked up before, so that no request waits.
        """
        changed = _InForce(ledger)
        if bundle is not None:
            changed.withheld[bundle.version] = _rows(ledger, bundle)
        _ = ledger.epoch  # a digest over all ids, for the event loop to find ready
        self._in_force = changed

    def on(self, bundle: Bundle) -> Withholding:
        """Return what a bundle must not serve now. May look items up: not for the event loop."""
        in_force = self._in_force
        withheld = in_force.withheld.get(bundle.version)
        if withheld is None:
            withheld = _rows(in_force.ledger, bundle)
            # Several threads may do the same; the result is the same too.
            for version in list(in_force.withheld)[: 1 - _MAX_BUNDLES]:
                in_force.withheld.pop(version, None)
            in_force.withheld[bundle.version] = withheld
        return Withholding(in_force.ledger.epoch, withheld)


def _rows(ledger: Ledger, bundle: Bundle) -> Withheld:
    rows = bundle.catalog.rows_of(list(ledger.takedowns))
    return Withheld.of(rows, bundle.catalog.n_items)
