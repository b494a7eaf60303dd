import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from index.tensor_files import copy_file, open_tensors, write_tensors
from model.errors import BundleError
from model.tensor_files import Tensors

TENSORS: Tensors = {
    "names": np.arange(7, dtype=np.uint8),
    "rows": np.arange(5, dtype=np.int64)[::-1],
    "hashes": np.array([2**64 - 1], dtype=np.uint64),
    "vectors": np.ones((3, 2), dtype=np.float32),
    "nothing": np.empty(0, dtype=np.uint32),
}


def test_what_was_written_is_mapped_read_only(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    write_tensors(path, TENSORS)

    opened = open_tensors(path)

    assert set(opened) == set(TENSORS)
    for name, expected in TENSORS.items():
        np.testing.assert_array_equal(opened[name], expected)
        assert opened[name].dtype == expected.dtype
        assert not opened[name].flags.writeable
        assert not opened[name].flags.owndata
    assert str(path) in Path("/proc/self/maps").read_text()


def test_the_file_is_plain_safetensors_both_ways(tmp_path: Path) -> None:
    write_tensors(tmp_path / "ours", TENSORS)
    save_file({"a": np.arange(3, dtype=np.int32)}, tmp_path / "theirs", metadata={"made": "there"})

    np.testing.assert_array_equal(load_file(tmp_path / "ours")["rows"], TENSORS["rows"])
    assert open_tensors(tmp_path / "theirs")["a"].tolist() == [0, 1, 2]


def header(content: object) -> bytes:
    text = json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        (10**6).to_bytes(8, "little") + b"{}",
        header([1, 2]),
        header({"a": 3}),
        header({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}) + b"1234",
        header({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}) + b"1234",
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2]}}) + b"1234",
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}) + b"1234",
        (4).to_bytes(8, "little") + b"{no}",
    ],
)
def test_a_damaged_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    path.write_bytes(content)

    with pytest.raises(BundleError, match=r"table\.safetensors: damaged"):
        open_tensors(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"table\.safetensors: is missing"):
        open_tensors(tmp_path / "table.safetensors")


def test_a_copy_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"1234")
    (tmp_path / "folder").mkdir()

    copy_file(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"1234"
    with pytest.raises(IsADirectoryError, match="folder"):
        copy_file(tmp_path / "source", tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        copy_file(tmp_path / "nowhere", tmp_path / "copy")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "table"

    with pytest.raises(OSError, match="nowhere"):
        write_tensors(path, TENSORS)
