"""The file of takedowns: several writers, writers that are killed, and damage."""

import fcntl
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from index.registry.registry import Registry
from index.takedowns import takedown_file
from index.takedowns.takedown_file import TakedownFile
from index.takedowns.takedowns import Ledger, Takedown
from model.errors import RegistryError

ROOT = Path(__file__).parents[4]

# Takes items down for ever and tells each as soon as it is on the disk.
WRITER = """
import sys
from pathlib import Path
from index.takedowns.takedown_file import TakedownFile
from index.takedowns.takedowns import Takedown
file, name = TakedownFile(Path(sys.argv[1])), sys.argv[2]
for number in range(int(sys.argv[3])):
    file.change(lambda ledger: ledger.put(Takedown(f"{name}-{number}", "then")))
    print(f"{name}-{number}", flush=True)
"""


@pytest.fixture
def file(tmp_path: Path) -> TakedownFile:
    return TakedownFile(tmp_path / "registry")


def put(file: TakedownFile, item_id: str, reason: str | None = None) -> Ledger:
    return file.change(lambda ledger: ledger.put(Takedown(item_id, "then", reason)))[1]


def start_writer(file: TakedownFile, name: str, count: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file.path.parents[1]), name, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )


def test_without_a_file_nothing_is_known(file: TakedownFile) -> None:
    assert file.read() is None
    assert file.read_again(Ledger()) is None
    assert repr(file) == f"<TakedownFile {file.path}>"


def test_what_was_written_is_read_again(file: TakedownFile) -> None:
    ledger = put(file, "first")
    for item_id in ("a/b", "ü\u2028", "line\nend", "%2F", " "):
        ledger = put(file, item_id, 'a "reason"\nin two lines')

    assert file.read() == ledger


def test_a_file_that_nobody_touched_is_not_read_whole(
    file: TakedownFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = put(file, "a")
    known = file.read_again(Ledger())
    assert known == ledger
    monkeypatch.setattr(takedown_file, "_parse", lambda _: pytest.fail("read whole"))

    assert file.read_again(known) is known


def test_a_look_tells_what_another_wrote(file: TakedownFile) -> None:
    other = TakedownFile(file.path.parents[1])
    first = put(other, "a")
    known = file.read_again(Ledger()) or pytest.fail("no file")
    assert known == first
    second = put(other, "b")
    assert file.read_again(known) == second

    # Whoever goes by something else gets what is there, although nobody touched it.
    assert file.read_again(known) == second


def test_damage_behind_the_head_is_told_until_it_is_mended(file: TakedownFile) -> None:
    put(file, "item")
    known = file.read_again(Ledger()) or pytest.fail("no file")
    sound, status = file.path.read_bytes(), file.path.stat()
    file.path.write_bytes(sound.replace(b"item", b"itym"))
    os.utime(file.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for _ in range(2):
        with pytest.raises(RegistryError, match=r"takedowns/ledger\.jsonl: damaged"):
            file.read_again(known)

    file.path.write_bytes(sound)
    assert file.read_again(known) == known


def test_a_change_that_changes_nothing_writes_nothing(file: TakedownFile) -> None:
    put(file, "a")
    before = file.path.stat()
    put(file, "a")

    assert file.path.stat() == before


def test_a_copy_never_goes_back(file: TakedownFile) -> None:
    old = Ledger.begin().put(Takedown("a", "then"))
    new = old.put(Takedown("b", "then"))
    for each in (old, new, old):
        file.keep(each)
    assert file.read() == new

    other = Ledger.begin()
    file.keep(other)
    assert file.read() == other


@pytest.mark.parametrize("whole", ["nonsense", None])
def test_a_damaged_copy_is_replaced(file: TakedownFile, whole: str | None) -> None:
    ledger = put(file, "item")
    file.path.write_text(whole or file.path.read_text().replace("item", "itym"))
    file.keep(ledger)

    assert file.read() == ledger


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-3],
        lambda content: content[:40],
        lambda content: content.replace(b"item", b"itym"),
        lambda content: content.replace(b'"format":1', b'"format":2'),
        lambda content: b"[]\n" + content,
        lambda content: b"\xff" * 5000,
    ],
)
def test_damage_is_told_with_the_name_of_the_file(file: TakedownFile, damage: object) -> None:
    assert callable(damage)
    put(file, "item")
    content = damage(file.path.read_bytes())
    file.path.write_bytes(content)
    for call in (file.read, lambda: put(file, "b")):
        with pytest.raises(RegistryError, match=r"takedowns/ledger\.jsonl: damaged"):
            call()

    assert file.path.read_bytes() == content


def test_a_writer_that_hangs_is_told(file: TakedownFile, monkeypatch: pytest.MonkeyPatch) -> None:
    put(file, "a")
    monkeypatch.setattr(takedown_file, "_LOCK_PATIENCE", 0.05)
    with (file.path.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RegistryError, match="locked by another writer"):
            put(file, "b")

    assert set(put(file, "c").takedowns) == {"a", "c"}


def test_several_writers_lose_nothing(file: TakedownFile) -> None:
    writers = [start_writer(file, name, 25) for name in ("one", "other")]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda number: put(file, f"thread-{number}"), range(25)))
    assert [writer.wait() for writer in writers] == [0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()

    ledger = file.read()
    assert ledger is not None
    assert ledger.revision == 75
    assert set(ledger.takedowns) == {
        f"{name}-{number}" for name in ("one", "other", "thread") for number in range(25)
    }


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_told(file: TakedownFile) -> None:
    told: set[str] = set()
    for trial in range(8):
        with start_writer(file, str(trial), 100_000) as writer:
            assert writer.stdout is not None
            told.add(writer.stdout.readline().decode().strip())
            time.sleep(0.002 * trial)
            writer.kill()
            told |= {line.decode().strip() for line in writer.stdout.readlines()}
        ledger = file.read()
        assert ledger is not None
        assert told <= set(ledger.takedowns)
    put(file, "last")

    assert not list(file.path.parent.glob(".staging-*"))


def test_a_publish_leaves_it_alone(file: TakedownFile, bundle_path: Path) -> None:
    ledger = put(file, "a")
    Registry(file.path.parents[1]).publish(bundle_path)

    assert file.read() == ledger
