from pathlib import Path

import pytest

from service.retrying import RetryPause, Sight, stamps_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "CURRENT").write_text("v")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    return tmp_path


def see(folder: Path, version: str = "v") -> Sight:
    return Sight(version, stamps_of(folder / "CURRENT", folder / "bundle"))


def test_what_is_new_is_tried_at_once(folder: Path) -> None:
    assert RetryPause().is_due(see(folder))


def test_the_pause_doubles_up_to_half_a_minute(folder: Path) -> None:
    clock = Clock()
    pause = RetryPause(clock)
    tries = []
    while clock.now < 120:
        if pause.is_due(see(folder)):
            tries.append(clock.now)
            pause.refused(see(folder))
        clock.now += 0.5

    assert tries == [0, 1, 3, 7, 15, 31, 61, 91]


def test_another_file_ends_the_pause_and_the_next_is_short(folder: Path) -> None:
    clock = Clock()
    pause = RetryPause(clock)
    for _ in range(5):
        pause.refused(see(folder))
    (folder / "bundle" / "manifest.json").write_text("[]")
    assert pause.is_due(see(folder))

    pause.refused(see(folder))
    clock.now += 1
    assert pause.is_due(see(folder))


def test_a_current_written_again_with_the_same_text_is_news(folder: Path) -> None:
    before = see(folder)
    (folder / "new").write_text("v")
    (folder / "new").replace(folder / "CURRENT")

    assert see(folder) != before


def test_a_bundle_that_arrives_is_news_but_not_what_is_being_copied(folder: Path) -> None:
    (folder / "bundle" / "manifest.json").unlink()
    (folder / "bundle").rmdir()
    missing = see(folder)
    (folder / "bundle").mkdir()
    (folder / "bundle" / ".index.faiss.x1y2").write_text("half")
    assert see(folder) == missing

    (folder / "bundle" / "index.faiss").write_text("whole")
    assert see(folder) != missing


def test_what_was_forgotten_is_tried(folder: Path) -> None:
    pause = RetryPause()
    pause.refused(see(folder))
    assert not pause.is_due(see(folder))
    pause.forget()

    assert pause.is_due(see(folder))
