"""The one reference that a swap changes."""

from index.bundle import Bundle
from service.problems import NotReady


class LiveBundle:
    """The one reference to the bundle that this worker serves."""

    def __init__(self, bundle: Bundle | None = None) -> None:
        self._bundle = bundle

    def get(self) -> Bundle:
        """Return the live bundle; a request asks once and keeps what it got.

        Raises:
            NotReady: No bundle is live yet.
        """
        if self._bundle is None:
            raise NotReady("no bundle is live yet; publish one with `python -m index publish`")
        return self._bundle

    def pinned(self) -> "LiveBundle":
        """Return a reference to what is live now, which no swap of this one changes."""
        return LiveBundle(self._bundle)

    @property
    def version(self) -> str | None:
        """Version of the live bundle, None without one."""
        return None if self._bundle is None else self._bundle.version

    def swap(self, bundle: Bundle) -> str | None:
        """Serve ``bundle`` from now on; return the version served before."""
        previous = self.version
        self._bundle = bundle
        return previous
