"""What this worker serves: the one reference that a swap changes, and the takedowns in force."""

from index.bundles.bundle import Bundle
from index.takedowns.takedowns import Ledger
from service.api.problems import NotReady
from service.live.withholding import TakedownsInForce


class LiveBundle:
    """The one reference to the bundle that this worker serves.

    Args:
        bundle: The bundle to begin with.
        takedowns: What is not served of it, nor of any that comes after it.

    Attributes:
        takedowns: The same.
    """

    def __init__(
        self, bundle: Bundle | None = None, takedowns: TakedownsInForce | None = None
    ) -> None:
        self._bundle = bundle
        self.takedowns = TakedownsInForce() if takedowns is None else takedowns

    def get(self) -> Bundle:
        """Return the live bundle; a request asks once and keeps what it got.

        Raises:
            NotReady: No bundle is live yet.
        """
        if self._bundle is None:
            raise NotReady("no bundle is live yet; publish one with `python -m index publish`")
        return self._bundle

    def pinned(self) -> "LiveBundle":
        """Return a reference to what is live now, which no swap of this one changes.

        Takedowns change for it too: no call is so long that it may serve what was taken down.
        """
        return LiveBundle(self._bundle, self.takedowns)

    @property
    def version(self) -> str | None:
        """Version of the live bundle, None without one."""
        return None if self._bundle is None else self._bundle.version

    def withhold(self, ledger: Ledger) -> None:
        """Serve none of these items from now on. Looks them up: not for the event loop."""
        self.takedowns.change(ledger, self._bundle)

    def knows(self, item_id: str) -> bool:
        """Tell whether the live bundle has an item; False without a bundle."""
        return self._bundle is not None and int(self._bundle.catalog.rows_of([item_id])[0]) >= 0

    def swap(self, bundle: Bundle) -> str | None:
        """Serve ``bundle`` from now on; return the version served before."""
        previous = self.version
        self._bundle = bundle
        return previous
