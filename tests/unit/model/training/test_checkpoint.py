"""A checkpoint is the old one or the new one, whatever happens."""

import os
from pathlib import Path

import pytest
import torch

from model.errors import InputError
from model.training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint


def save(folder: Path, number: int) -> None:
    save_checkpoint(folder, "latest", {"x": torch.full((3,), float(number))}, {"step": number})


def load(folder: Path) -> tuple[list[float], int]:
    tensors, state = load_checkpoint(folder, "latest")
    return tensors["x"].tolist(), state["step"]


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 4).T,  # not contiguous
        "b": torch.tensor(7),
        "c": torch.nn.Parameter(torch.randn(2)),
    }
    state = {"step": 3, "random": {"state": 2**127}, "curve": [{"loss": 0.1}]}
    save_checkpoint(tmp_path / "new" / "folder", "soft", tensors, state)
    loaded, loaded_state = load_checkpoint(tmp_path / "new" / "folder", "soft")

    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert {name: loaded_state[name] for name in state} == state


def test_a_later_checkpoint_replaces_the_earlier_and_its_tensors(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)

    assert load(tmp_path) == ([2.0] * 3, 2)
    assert len(list(tmp_path.iterdir())) == 2


def test_checkpoints_of_other_names_are_left_alone(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "soft", {"x": torch.zeros(1)}, {})
    save_checkpoint(tmp_path, "hard", {"x": torch.ones(1)}, {})
    save(tmp_path, 1)

    assert load_checkpoint(tmp_path, "soft")[0]["x"].item() == 0
    assert load_checkpoint(tmp_path, "hard")[0]["x"].item() == 1


@pytest.mark.parametrize(("syncs_before_the_crash", "survivor"), [(0, 1), (1, 1), (2, 2)])
def test_a_crash_leaves_the_old_checkpoint_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syncs_before_the_crash: int, survivor: int
) -> None:
    save(tmp_path, 1)
    real_fsync = os.fsync
    syncs = 0

    def fsync(descriptor: int) -> None:
        nonlocal syncs
        if syncs == syncs_before_the_crash:
            raise KeyboardInterrupt
        syncs += 1
        real_fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 2)

    assert load(tmp_path) == ([float(survivor)] * 3, survivor)
    save(tmp_path, 3)
    assert load(tmp_path) == ([3.0] * 3, 3)
    assert len(list(tmp_path.iterdir())) == 2, "what the crash left is cleared away"


def test_there_is_a_checkpoint_once_it_is_saved(tmp_path: Path) -> None:
    assert not has_checkpoint(tmp_path, "latest")
    save(tmp_path, 1)
    assert has_checkpoint(tmp_path, "latest")
    assert not has_checkpoint(tmp_path, "soft")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"latest\.json: no usable checkpoint"):
        load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"tensors": "gone.safetensors"}', "[]"])
def test_a_damaged_state_is_named(tmp_path: Path, content: str) -> None:
    save(tmp_path, 1)
    (tmp_path / "latest.json").write_text(content)

    with pytest.raises(InputError, match=r"latest\.json: no usable checkpoint"):
        load(tmp_path)


def test_damaged_tensors_are_named(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tensors,) = tmp_path.glob("*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-3])

    with pytest.raises(InputError, match=r"latest\.json: no usable checkpoint"):
        load(tmp_path)
