"""What TensorBoard reads after a training was killed and resumed."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.training.training_log import open_log


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_points_after_the_checkpoint_are_withdrawn_and_none_is_lost(tmp_path: Path) -> None:
    with open_log(tmp_path / "soft", 0) as log:
        for step in (5, 10, 15):
            log.write(step, {"loss/total": 1.0, "valid/recall@50": step / 4})
    with open_log(tmp_path / "soft", 10) as log:  # the checkpoint was that of step 10
        for step in (15, 20):
            log.write(step, {"loss/total": 2.0, "valid/recall@50": step / 2})

    assert read(tmp_path / "soft") == {
        "loss/total": [(5, 1), (10, 1), (15, 2), (20, 2)],
        "valid/recall@50": [(5, 1.25), (10, 2.5), (15, 7.5), (20, 10)],
    }


def test_a_point_is_on_disk_once_it_is_written(tmp_path: Path) -> None:
    with open_log(tmp_path, 0) as log:
        log.write(5, {"loss/total": 1.0})
        assert read(tmp_path) == {"loss/total": [(5, 1)]}


def test_nowhere_is_a_place_to_write_to(tmp_path: Path) -> None:
    with open_log(None, 0) as log:
        log.write(5, {"loss/total": 1.0})
    assert not list(tmp_path.iterdir())
