import shutil
from pathlib import Path
from typing import Any

import pytest

from index.bundles.manifest import Manifest, read_manifest
from index.registry.admission import Admission, compare
from index.registry.registry import Registry
from model.errors import BundleError
from tests.bundles import build_small_bundle


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(build_small_bundle(tmp_path_factory.mktemp("live")))


def changed(manifest: Manifest, **sections: dict[str, Any]) -> Manifest:
    """The same manifest with some fields of some sections replaced."""
    document = manifest.model_dump()
    for name, fields in sections.items():
        document[name] = {**document[name], **fields}
    return Manifest.model_validate(document)


def with_recall(manifest: Manifest, recall: float) -> Manifest:
    return changed(manifest, metrics={"valid": {"recall@50": recall}})


def test_what_is_as_good_or_better_is_admitted(live: Manifest) -> None:
    promised = changed(live, index={"measured_recall": 0.95})  # what `build` promises at least
    for new in (live, with_recall(live, 0.9), changed(live, catalog={"items": 900}), promised):
        assert compare(new, live, 0.05) == (live.version, [], [])


@pytest.mark.parametrize(
    ("recall", "tolerance", "is_worse"),
    [(0.286, 0.05, False), (0.284, 0.05, True), (0.2999, 0.0, True), (0.01, 1.0, False)],
)
def test_a_fall_beyond_the_tolerance_is_worse(
    live: Manifest, recall: float, tolerance: float, is_worse: bool
) -> None:
    assert bool(compare(with_recall(live, recall), live, tolerance).worse) == is_worse


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"metrics": {"valid": {"recall@50": 0.15}}},
            "recall@50 on validation 0.1500 against 0.3000 (−50.0%)",
        ),
        (
            {"index": {"measured_recall": 0.5, "target_recall": 0.4}},
            "recall of the index 0.5000 against 1.0000 (−50.0%)",
        ),
        (
            {"index": {"measured_recall": 0.96, "target_recall": 0.97}},
            "the index finds 0.9600 of the exact answers, its promise is 0.97",
        ),
        ({"catalog": {"items": 150}}, "items in the catalog 150 against 300 (−50.0%)"),
    ],
)
def test_what_is_worse_is_told_in_numbers(
    live: Manifest, sections: dict[str, Any], said: str
) -> None:
    new = changed(live, **sections)

    assert compare(new, live, 0.05).worse == [said]
    with pytest.raises(BundleError, match=r"is worse than .*, which stays live: .*--force") as it:
        Admission().judge(new, live)
    assert said in str(it.value)
    assert "\n" not in str(it.value)


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"dataset": {"split": "day"}}, "split day, live: user"),
        ({"dataset": {"source": "other.csv"}}, "data set other.csv, live: planted.csv"),
        ({"dataset": {"source": None}}, "data set no name, live: planted.csv"),
        ({"metrics": {"valid": {}}}, "does not have it"),
    ],
)
def test_metrics_that_mean_something_else_are_not_compared_and_that_is_said(
    live: Manifest, sections: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    new = changed(with_recall(live, 0.01), **sections)
    admission = Admission()

    admission.judge(new, live)

    assert admission.comparison is not None
    assert reason in admission.comparison.not_compared[0]
    assert f"Not compared with the live bundle {live.version}: recall@50" in caplog.text


def test_the_catalog_is_compared_whatever_the_data(live: Manifest) -> None:
    new = changed(live, dataset={"source": "other.csv"}, catalog={"items": 3})

    assert len(compare(new, live, 0.05).worse) == 1


def test_a_data_set_of_the_same_name_is_the_same_although_its_log_is_not(live: Manifest) -> None:
    tonight = changed(live, dataset={"name": "clicks", "source": "2026-07-02.csv"})
    yesterday = changed(live, dataset={"name": "clicks", "source": "2026-07-01.csv"})

    assert compare(with_recall(tonight, 0.1), yesterday, 0.05).worse


def test_fitting_on_everything_leaves_metrics_comparable(live: Manifest) -> None:
    new = changed(with_recall(live, 0.1), model={"fit_on": "all"})

    assert compare(new, live, 0.05).worse


def test_what_is_forced_is_admitted_and_said(
    live: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    admission = Admission(force=True)

    admission.judge(with_recall(live, 0.1), live)

    assert admission.comparison is not None
    assert len(admission.comparison.worse) == 1
    assert f"Forced, although worse than {live.version}: recall@50" in caplog.text


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """One in which 300 items are live."""
    registry = Registry(tmp_path / "registry")
    registry.publish(build_small_bundle(tmp_path, name="live"))
    return registry


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    """A bundle of a tenth of the items."""
    return build_small_bundle(tmp_path, name="worse", n_items=30)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_refused_publish_leaves_the_registry_as_it_was(registry: Registry, worse: Path) -> None:
    before = contents(registry.path)

    with pytest.raises(BundleError, match="items in the catalog 30 against 300"):
        registry.publish(worse, admission=Admission())

    assert contents(registry.path) == before


def test_what_does_not_go_live_is_not_compared(registry: Registry, worse: Path) -> None:
    live, admission = registry.current(), Admission()
    version = registry.publish(worse, activate=False, admission=admission)

    assert admission.comparison is None
    with pytest.raises(BundleError, match="items in the catalog"):
        registry.activate(version, admission=Admission())
    assert registry.current() == live

    registry.activate(version, admission=Admission(0.9))
    assert registry.current() == version


def test_rolling_back_never_refuses_what_is_worse(registry: Registry, worse: Path) -> None:
    first = registry.current()
    second = registry.publish(worse, admission=Admission(force=True))
    assert first is not None
    registry.activate(first)

    assert registry.rollback() == second


def test_the_live_bundle_published_again_is_not_compared_with_itself(
    registry: Registry, tmp_path: Path
) -> None:
    admission = Admission(0)
    registry.publish(tmp_path / "live", admission=admission)

    assert admission.comparison is None


@pytest.mark.parametrize("damage", ["manifest", "gone", "current"])
def test_a_live_bundle_that_cannot_be_read_does_not_stand_in_the_way(
    registry: Registry, worse: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    live = registry.bundle_path(registry.versions()[0])
    if damage == "manifest":
        (live / "manifest.json").write_text("{")
    elif damage == "gone":
        shutil.rmtree(live)
    else:
        (registry.path / "CURRENT").write_text("?")

    version = registry.publish(worse, admission=Admission())

    assert registry.current() == version
    assert ("Not compared with the live bundle" in caplog.text) == (damage != "current")


def test_the_comparison_is_with_what_is_live_once_the_lock_is_held(
    registry: Registry, worse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = registry.versions()[0]
    registry.publish(worse)
    middle = build_small_bundle(tmp_path, name="middle", n_items=40)
    wait = Registry._writing

    def writing_after_another(self: Registry) -> Any:
        monkeypatch.setattr(Registry, "_writing", wait)
        registry.activate(large)  # as if it had held the lock until now
        return wait(self)

    monkeypatch.setattr(Registry, "_writing", writing_after_another)

    with pytest.raises(BundleError, match="40 against 300"):
        registry.publish(middle, admission=Admission())
    assert registry.current() == large
