"""Answers kept in the process, as they are sent."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple


class _Kept(NamedTuple):
    """An answer and the ``clock()`` until which it is served."""

    answer: bytes
    until: float


class MemoryCache:
    """Keeps answers for a while, the least recently used ones going first.

    Bounded by bytes and not by entries: an answer takes from 1 KB to some 300 KB (1000 explained
    candidates), and memory is what runs out. What nobody asks for is not looked for when its time
    is over: it ends up least recently used.

    A few lines in place of ``cachetools``, of which a look-up takes four times as long and whose
    entries live equally long.

    Args:
        max_bytes: Memory for the answers, without some 400 bytes of overhead for each.
        clock: Seconds, monotonic.
    """

    def __init__(self, *, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def recall(self, key: str) -> bytes | None:
        """Return the answer under ``key``, or None."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if self._clock() >= kept.until:
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept.answer

    def keep(self, key: str, answer: bytes, life: float) -> None:
        """Keep an answer for ``life`` seconds; one that is larger than the cache is not kept."""
        self._drop(key)
        if len(answer) > self._max_bytes:
            return
        self._kept[key] = _Kept(answer, self._clock() + life)
        self._bytes += len(answer)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def clear(self) -> None:
        """Forget all answers."""
        self._kept.clear()
        self._bytes = 0

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= len(kept.answer)
