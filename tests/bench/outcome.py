"""What a load met, and what can be said of it. Imports nothing heavy."""

import math
from collections import Counter
from dataclasses import dataclass, field

OK = 200


@dataclass
class Outcome:
    """What a load met.

    Attributes:
        seconds: How long it lasted, to the last answer; of an open loop: how long was sent.
        begun: When each of the answers with status 200 was to be asked for, in seconds from the
            start; of a closed loop that is when it was.
        latencies: From these moments to the whole answer, in seconds.
        failures: Other answers, by status, and what gave none: when it was to be asked for, and
            "503", "closed", "refused", "no answer", ….
        cached: Answers that say that they come from a cache.
        answer_bytes: Length of the last body.
        asked: Requests that were sent or meant to be.
        late: Of an open loop: requests that were sent more than a millisecond late, because all
            connections waited or the sender had no time.
        most_late: The latest of them, in seconds.
        reopened: Connections that were opened again.
        cpu_seconds: What the generator itself took of a core.
    """

    seconds: float = 0.0
    begun: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)
    cached: int = 0
    answer_bytes: int = 0
    asked: int = 0
    late: int = 0
    most_late: float = 0.0
    reopened: int = 0
    cpu_seconds: float = 0.0

    @property
    def errors(self) -> int:
        """How many requests got no answer with status 200."""
        return len(self.failures)

    @property
    def speed(self) -> float:
        """Answers with status 200 in a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    @property
    def cached_share(self) -> float:
        """Share of the answers that came from a cache."""
        return self.cached / max(1, len(self.latencies))

    @property
    def cpu_share(self) -> float:
        """Share of one core that the generator took."""
        return self.cpu_seconds / self.seconds if self.seconds else 0.0

    def kinds_of_failure(self) -> dict[str, int]:
        """Count the failures by what they are."""
        return dict(Counter(what for _, what in self.failures))

    def between(self, begin: float, end: float) -> "Outcome":
        """Return the part that was to be asked for in ``begin`` ≤ t < ``end``, in seconds."""
        chosen = [place for place, at in enumerate(self.begun) if begin <= at < end]
        return Outcome(
            seconds=end - begin,
            begun=[self.begun[place] for place in chosen],
            latencies=[self.latencies[place] for place in chosen],
            failures=[(at, what) for at, what in self.failures if begin <= at < end],
            answer_bytes=self.answer_bytes,
            cpu_seconds=self.cpu_share * (end - begin),
        )


def percentile(values: list[float], share: float) -> float:
    """Return a percentile (nearest rank), NaN of nothing.

    Args:
        values: In any order.
        share: 0.5 for the median.
    """
    if not values:
        return math.nan
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]
