"""What a benchmark has found: tables, curves for the plot, and promises held or not."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.measuring import Row, Table
from tests.bench.outcome import Outcome, percentile

AT_LEAST, AT_MOST, LESS_THAN = "≥", "≤", "<"


@dataclass(frozen=True)
class Promise:
    """A ratio that is to hold in one run.

    Attributes:
        what: In words.
        values: One for each round; the median counts.
        sense: ``≥``, ``≤`` or ``<``.
        wanted: What it is compared with.
    """

    what: str
    values: Sequence[float]
    sense: str
    wanted: float

    def to_row(self) -> Row:
        """Return it as a row of a table."""
        found = statistics.median(self.values)
        holds = {
            AT_LEAST: found >= self.wanted,
            AT_MOST: found <= self.wanted,
            LESS_THAN: found < self.wanted,
        }[self.sense]
        return {
            "ratio": self.what,
            "found": found,
            "least": min(self.values),
            "largest": max(self.values),
            "wanted": f"{self.sense} {self.wanted:g}",
            "holds": "yes" if holds else "no",
        }


@dataclass(frozen=True)
class CurvePoint:
    """A stack under one load.

    Attributes:
        speed: Requests per second.
        p50: Milliseconds.
        p99: Milliseconds.
    """

    speed: float
    p50: float
    p99: float


@dataclass
class Findings:
    """What a section has found.

    Attributes:
        tables: To print.
        promises: What they say of the ratios that are to hold.
        curves: Of each stack, by name, least load first.
        notes: What could not be measured, and why.
    """

    tables: list[Table] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    curves: dict[str, list[CurvePoint]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, other: "Findings") -> None:
        """Append another section's."""
        self.tables += other.tables
        self.promises += other.promises
        self.curves |= other.curves
        self.notes += other.notes


def milliseconds(outcomes: Sequence[Outcome], share: float) -> float:
    """Return a percentile of all rounds' latencies, in milliseconds; NaN of none."""
    return 1e3 * percentile([each for one in outcomes for each in one.latencies], share)


def speed(outcomes: Sequence[Outcome]) -> float:
    """Return the median of the rounds' requests per second."""
    return statistics.median(outcome.speed for outcome in outcomes)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Divide round by round."""
    return [one / other for one, other in zip(ours, theirs, strict=True) if other > 0]


def load_row(outcomes: Sequence[Outcome]) -> Row:
    """Return what every table of loads tells of several rounds."""
    kinds: dict[str, int] = {}
    for outcome in outcomes:
        for what, count in outcome.kinds_of_failure().items():
            kinds[what] = kinds.get(what, 0) + count
    return {
        "requests/s": speed(outcomes),
        "p50": milliseconds(outcomes, 0.5),
        "p99": milliseconds(outcomes, 0.99),
        "p99.9": milliseconds(outcomes, 0.999),
        "failures": ", ".join(f"{n:,} × {what}" for what, n in sorted(kinds.items())) or "0",
        "from cache": statistics.mean(outcome.cached_share for outcome in outcomes),
        "generator's CPU": statistics.mean(outcome.cpu_share for outcome in outcomes),
    }
