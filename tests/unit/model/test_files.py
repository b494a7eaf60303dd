"""Nothing half-written is ever taken for whole."""

import os
import time
from pathlib import Path

import pytest

from model.errors import InputError
from model.files import (
    locked,
    new_folder,
    read_json_object,
    remove_folder,
    replace_file,
    sweep_staging,
)


class BoomError(Exception):
    pass


def fail_while_writing(path: Path) -> None:
    with new_folder(path) as staging:
        (staging / "half").write_text("half")
        raise BoomError


def test_a_new_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "out") as staging:
        (staging / "file").write_text("whole")
        (staging / "sub").mkdir()
        (staging / "sub" / "file").write_text("too")
        assert not (tmp_path / "a" / "out").exists()

    assert (tmp_path / "a" / "out" / "sub" / "file").read_text() == "too"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BoomError):
        fail_while_writing(tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    with pytest.raises(InputError, match="out: exists already"):
        fail_while_writing(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_writer_left_is_swept_by_the_next(tmp_path: Path) -> None:
    died = tmp_path / ".staging-out-7-0123abcd"
    died.mkdir()
    (died / "half").write_text("half")
    others = [tmp_path / ".staging-out-2-7-0123abcd", tmp_path / ".staging-outer-7-0123abcd"]
    for other in others:
        other.mkdir()

    with new_folder(tmp_path / "out"):
        pass

    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "out"])


def test_what_writers_of_other_folders_left_is_swept_after_a_day(tmp_path: Path) -> None:
    """The next bundle has another name; nobody else would ever sweep what is left of this one."""
    old, filled, half = (
        tmp_path / f".staging-bundle-{name}-7-0123abcd" for name in ("old", "filled", "half")
    )
    temporary = tmp_path / ".staging-CURRENT-0123abcd"
    for folder in (old, filled, half):
        folder.mkdir()
        (folder / "file").touch()
    temporary.touch()
    foreign = tmp_path / ".staging-of-another-program"
    foreign.mkdir()
    two_days_ago = time.time() - 2 * 86_400
    for path in (old / "file", old, filled, half / "file", temporary, foreign):
        os.utime(path, (two_days_ago, two_days_ago))

    with new_folder(tmp_path / "bundle-new"):
        pass

    assert sorted(tmp_path.iterdir()) == sorted([filled, half, foreign, tmp_path / "bundle-new"])


def test_what_a_living_writer_of_another_folder_fills_is_not_swept_after_a_day(
    tmp_path: Path,
) -> None:
    with new_folder(tmp_path / "slow") as staging:
        os.utime(staging, (0, 0))
        with new_folder(tmp_path / "out"):
            pass

        assert staging.is_dir()


def test_what_a_living_writer_fills_is_not_swept(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as staging:
        sweep_staging(tmp_path)
        sweep_staging(tmp_path, name="out")

        assert staging.is_dir()
    assert (tmp_path / "out").is_dir()


def test_a_folder_is_replaced_once_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()

    with new_folder(tmp_path / "out", replace=True) as staging:
        (staging / "new").touch()
        assert (tmp_path / "out" / "old").exists()

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_json_that_is_nested_too_deeply_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)

    with pytest.raises(ValueError, match="nested too deeply"):
        read_json_object(tmp_path / "deep.json")


def test_a_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "file"
    replace_file(file, "old")
    replace_file(file, b"new")

    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_who_reads_a_file_while_it_is_replaced_reads_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "file"
    replace_file(file, "old")
    with file.open() as reader:
        replace_file(file, "new")

        assert reader.read() == "old"
    assert file.read_text() == "new"


def test_a_failed_replacement_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    replace_file(file, "old")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space") as caught:
        replace_file(file, "new")
    assert caught.value.filename == str(file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_removed_folder_has_no_name_before_its_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").touch()

    def refuse(_: Path) -> None:
        assert not folder.exists()
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("model.files.shutil.rmtree", lambda path, ignore_errors=False: refuse(path))
        with pytest.raises(PermissionError):
            remove_folder(folder)
    (debris,) = tmp_path.iterdir()
    assert (debris / "folder" / "file").exists()

    sweep_staging(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)

    remove_folder(tmp_path / "folder")

    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        remove_folder(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_or_a_link_by_the_name_of_a_folder_stops_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")

    with locked(tmp_path / "pipe"):  # opening it as usual would wait for a writer
        pass
    with locked(tmp_path / "link") as mine:
        assert not mine
