"""Speed and time left, with a clock that the test turns."""

import io
from collections.abc import Iterator

import pytest

from model.runtime import progress
from model.runtime.progress import Progress, show_progress


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def resumed(clock: Clock) -> Iterator[Progress]:
    """The progress of a stage that goes on at step 50; nothing is shown."""
    with show_progress(
        "soft stage", step=50, end=200, end_is_known=False, sequences_per_step=8, shown=False
    ) as shown:
        yield shown


def advance(shown: Progress, steps: int) -> None:
    for _ in range(steps):
        shown.advance()


def test_speed_is_that_of_steps_alone(resumed: Progress, clock: Clock) -> None:
    advance(resumed, 10)
    clock.now += 2
    assert resumed.sequences_per_second() == pytest.approx(10 * 8 / 2)

    clock.now += 60  # a validation
    resumed.begin_steps()
    advance(resumed, 5)
    clock.now += 2
    assert resumed.sequences_per_second() == pytest.approx(5 * 8 / 2)


def test_the_time_left_counts_on_validations_and_on_steps_taken_here(
    resumed: Progress, clock: Clock
) -> None:
    assert resumed.expect_end(200) == "?"
    advance(resumed, 10)
    clock.now += 25

    assert resumed.expect_end(200) == "05:50"  # 140 steps of 2.5 s
    assert resumed.expect_end(60) == "00:00"


@pytest.mark.parametrize(("known", "words"), [(False, "at least"), (True, "sequences/s, ")])
def test_a_terminal_shows_speed_and_time_left(
    monkeypatch: pytest.MonkeyPatch, known: bool, words: str
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with show_progress(
        "soft stage", step=0, end=40, end_is_known=known, sequences_per_step=8, shown=True
    ) as shown:
        advance(shown, 10)
        shown.expect_end(20, "best recall@50 0.4120")
    text = terminal.getvalue()

    assert "soft stage, step" in text
    assert "10/20 |" in text
    assert words in text
    assert ("at least" in text) != known
    assert "best recall@50 0.4120" in text


def test_elsewhere_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(
        "soft stage", step=0, end=40, end_is_known=True, sequences_per_step=8, shown=True
    ) as shown:
        advance(shown, 10)
    assert capsys.readouterr() == ("", "")
