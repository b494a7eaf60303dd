"""How long an answer is kept where: together no longer than the TTL, and never all equally long."""

import random
from collections.abc import Callable

# Of the TTL, the part that an answer may be in Redis; the rest is for the copy that a worker makes
# of it. So the two end within the TTL though the copy is not told how old the answer is, and
# though the clocks of two machines differ.
_SHARED_PART = 0.9
_COPY_PART = 1 - _SHARED_PART

# Each life is shorter by up to this part, so that answers computed together (after a swap, all of
# them) do not have to be computed together again.
_JITTER = 0.1


class Lives:
    """Draws the lives of answers.

    Args:
        ttl: Seconds that an answer may be served, counted from when it was computed.
        draw: Gives numbers from 0 (included) to 1 (excluded); tests put in their own.
    """

    def __init__(self, ttl: float, *, draw: Callable[[], float] = random.random) -> None:
        self._ttl = ttl
        self._draw = draw

    def of_own(self) -> float:
        """Return the seconds that who computed an answer keeps it in memory."""
        return self._jittered(self._ttl)

    def of_shared(self) -> float:
        """Return the seconds that an answer is kept in Redis."""
        return self._jittered(_SHARED_PART * self._ttl)

    def of_copy(self) -> float:
        """Return the seconds that an answer found in Redis is kept in memory."""
        return self._jittered(_COPY_PART * self._ttl)

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 - _JITTER * self._draw())
