"""What is particular to ScaNN; what every kind promises is in test_item_index."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index.__main__ import main
from index.bundles.build import build_bundle
from index.bundles.bundle import open_bundle
from index.kinds import scann_library
from index.kinds.implementations import open_index
from index.kinds.scann_index import ScannItemIndex, build_scann_index
from index.registry.verification import verify_bundle
from index.search.direct import scores_of
from index.search.exact import ExactItemIndex
from index.tensor_files import open_tensors, write_tensors
from model.arrays import Floats
from model.errors import BundleError, InputError
from model.tensor_files import Tensors
from tests.bundles import clustered_vectors, unit_rows, write_run
from tests.optional import needs_scann
from tests.services import REPOSITORY

pytestmark = needs_scann

N_ITEMS, DIM = 6000, 24


@pytest.fixture(scope="module")
def vectors() -> Floats:
    return clustered_vectors(N_ITEMS, DIM, 4, np.random.default_rng(1))[0]


@pytest.fixture(scope="module")
def queries(vectors: Floats) -> Floats:
    """Like interests: means of a few items of a cluster. Shape (300, 24)."""
    rows = np.random.default_rng(2).integers(0, N_ITEMS // 4, (300, 3)) * 4
    return unit_rows(vectors[rows].mean(axis=1))


@pytest.fixture(scope="module")
def built(vectors: Floats) -> ScannItemIndex:
    item_index = build_scann_index(vectors, kind="scann")
    item_index.operate_at({"leaves": 38, "rescoring": 8})
    return item_index


@pytest.fixture
def folder(built: ScannItemIndex, tmp_path: Path) -> Path:
    """A folder with the index in it."""
    built.save(tmp_path / "index.scann")
    return tmp_path


def reopen(folder: Path, built: ScannItemIndex, vectors: Floats, **more: object) -> ScannItemIndex:
    opened = open_index(
        folder,
        **{
            "kind": "scann",
            "factory": built.factory,
            "item_vectors": vectors,
            "parameters": built.parameters,
            **more,
        },  # type: ignore[arg-type]
    )
    assert isinstance(opened, ScannItemIndex)
    return opened


def share_found(item_index: ScannItemIndex, vectors: Floats, queries: Floats) -> float:
    exact = ExactItemIndex(vectors).search(queries, 50).rows
    found = item_index.search(queries, 50).rows
    hits = [len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
    return float(np.mean(hits)) / 50


def test_most_of_the_exact_answers_are_found(
    built: ScannItemIndex, vectors: Floats, queries: Floats
) -> None:
    assert share_found(built, vectors, queries) > 0.9


def test_scores_are_inner_products(built: ScannItemIndex, vectors: Floats, queries: Floats) -> None:
    found = built.search(queries, 100)

    precise = scores_of(found.rows, queries, vectors)
    np.testing.assert_allclose(found.scores, precise, rtol=0, atol=5e-7)
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_what_was_reopened_answers_the_same_to_the_last_bit(
    built: ScannItemIndex, folder: Path, vectors: Floats, queries: Floats
) -> None:
    before = built.search(queries, 100)

    after = reopen(folder, built, vectors).search(queries, 100)

    np.testing.assert_array_equal(after.rows, before.rows)
    np.testing.assert_array_equal(after.scores, before.scores)


def test_saving_again_gives_the_same_bytes(
    built: ScannItemIndex, folder: Path, vectors: Floats
) -> None:
    reopen(folder, built, vectors).save(folder / "again")

    assert (folder / "again").read_bytes() == (folder / "index.scann").read_bytes()


def test_opening_leaves_neither_files_nor_descriptors(
    built: ScannItemIndex, folder: Path, vectors: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = folder / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    opened = reopen(folder, built, vectors)
    opened.save(folder / "again")

    assert list(temporary.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208


def test_a_search_stays_on_its_thread(
    built: ScannItemIndex, folder: Path, vectors: Floats, queries: Floats
) -> None:
    opened = reopen(folder, built, vectors)
    threads = set(Path("/proc/self/task").iterdir())

    opened.search(queries, 100)

    assert set(Path("/proc/self/task").iterdir()) <= threads


def test_building_says_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    build_scann_index(clustered_vectors(500, 16, 4, np.random.default_rng(1))[0], kind="scann")

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dim", [16, 17])
def test_added_items_are_found_as_if_they_had_been_there(dim: int, tmp_path: Path) -> None:
    vectors = clustered_vectors(5000, dim, 4, np.random.default_rng(1))[0]
    rows = np.random.default_rng(2).integers(0, 1250, (100, 3)) * 4
    queries = unit_rows(vectors[rows].mean(axis=1))
    whole = build_scann_index(vectors, kind="scann")
    whole.operate_at({"leaves": 30, "rescoring": 4})

    grown = build_scann_index(vectors[:4000], kind="scann")
    grown.operate_at({"leaves": 30, "rescoring": 4})
    grown = grown.with_added(vectors)
    grown.save(tmp_path / "index.scann")

    assert grown.n_items == 5000
    # Two trainings differ by a few hundredths; new items left out would be a fifth.
    expected = share_found(whole, vectors, queries)
    assert share_found(grown, vectors, queries) > expected - 0.1
    again = reopen(tmp_path, grown, vectors)
    np.testing.assert_array_equal(again.search(queries, 50).rows, grown.search(queries, 50).rows)


@pytest.mark.parametrize("share", [0.5, 0.01, 0.0001])
def test_without_some_items_the_others_stay_where_they_were(
    share: float, built: ScannItemIndex, folder: Path, vectors: Floats, queries: Floats
) -> None:
    kept = np.random.default_rng(3).random(N_ITEMS) < share
    kept[17] = True

    less = reopen(folder, built, vectors).with_only(vectors[kept], kept)

    assert less.n_items == kept.sum()
    assert share_found(less, vectors[kept], queries) > 0.9 * min(1, kept.sum() / 50)
    assert less.factory == built.factory


@pytest.mark.parametrize("share", [0.9, 0.6, 0.3])
def test_a_restricted_search_finds_no_less_than_an_unrestricted_one(
    share: float, built: ScannItemIndex, folder: Path, vectors: Floats, queries: Floats
) -> None:
    # By the tree down to 0.6, the allowed vectors themselves below.
    item_index = reopen(folder, built, vectors, parameters={"leaves": 16, "rescoring": 8})
    allowed = np.random.default_rng(3).random(N_ITEMS) < share
    allowed[:400] = False

    found = item_index.search(queries, 50, allowed=allowed)

    assert allowed[found.rows].all()
    assert all(len(set(rows)) == 50 for rows in found.rows.tolist())
    exact = ExactItemIndex(vectors).search(queries, 50, allowed=allowed)
    hits = (found.scores >= exact.scores[:, -1:] - 1e-6).sum()
    assert hits / found.rows.size > share_found(item_index, vectors, queries) - 0.02
    for number in (0, 7):
        alone = item_index.search(queries[number : number + 1], 50, allowed=allowed)
        np.testing.assert_array_equal(alone.rows[0], found.rows[number])
        np.testing.assert_array_equal(alone.scores[0], found.scores[number])


@pytest.mark.parametrize("n_items", [1, 15])
def test_too_few_vectors_are_refused(n_items: int) -> None:
    vectors = clustered_vectors(n_items, 16, 1, np.random.default_rng(1))[0]

    with pytest.raises(InputError, match=rf"--kind scann: ScaNN rejects .* {n_items} vec.*flat"):
        build_scann_index(vectors, kind="scann")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"nprobe": 3.0}, "nprobe is no parameter of ScaNN's"),
        ({"leaves": 0.0}, "leaves is 0.0, expected at least 1"),
        ({"rescoring": 0.5}, "rescoring is 0.5, expected at least 1"),
    ],
)
def test_what_cannot_be_an_operating_point_is_named(
    parameters: dict[str, float],
    words: str,
    built: ScannItemIndex,
    folder: Path,
    vectors: Floats,
) -> None:
    with pytest.raises(ValueError, match=words):
        built.operate_at(parameters)
    with pytest.raises(BundleError, match=rf"index\.scann: {words}.*; build"):
        reopen(folder, built, vectors, parameters=parameters)


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {each: array for each, array in tensors.items() if each != name}


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: change(tensors[name])}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without("codebook"), "expected .*'codebook'"),
        (lambda tensors: {**tensors, "more": np.zeros(3, np.uint8)}, "holds .*more.*expected"),
        (changed("sizes", lambda sizes: sizes[:1]), r"sizes has shape \(1,\)"),
        (changed("sizes", lambda sizes: sizes * [2, 1]), r"of 48 dimensions, the encoder 6000 of"),
        (
            changed("sizes", lambda sizes: sizes * [1, 2]),
            "is Tree310,.*, the manifest says Tree155",
        ),
        (changed("leaf_of_row", lambda leaves: leaves[1:]), "holds 5999 vectors of 24"),
        (
            changed("leaf_of_row", lambda leaves: np.append(leaves[1:], np.int32(155))),
            "leaf_of_row lies outside 0…154",
        ),
        (
            changed("leaf_of_row", lambda leaves: np.append(leaves[1:], np.int32(-1))),
            "leaf_of_row lies outside 0…154",
        ),
        (changed("leaf_of_row", lambda leaves: leaves.astype(np.int64)), "leaf_of_row is int64"),
        (changed("codes", lambda codes: codes[:, 1:]), r"codes has shape \(6000, 11\)"),
        (changed("codes", lambda codes: codes + np.uint8(1)), "codes lie outside 0…15"),
        (changed("codebook", lambda content: content[:9]), "Error"),
        (changed("codebook", lambda content: content[:0]), "Error"),
        (changed("partitioner", lambda content: content[:99]), "Error"),
        (changed("partitioner", np.zeros_like), "Error"),
    ],
)
def test_a_file_of_something_else_is_refused_by_name(
    damage: Callable[[Tensors], Tensors],
    words: str,
    built: ScannItemIndex,
    folder: Path,
    vectors: Floats,
) -> None:
    path = folder / "index.scann"
    tensors = {name: array.copy() for name, array in open_tensors(path).items()}
    write_tensors(path, damage(tensors))

    with pytest.raises(BundleError, match=rf"index\.scann: .*{words}.*build the bundle") as caught:
        reopen(folder, built, vectors)

    assert "\n" not in str(caught.value)


def test_a_machine_without_temporary_files_is_told(
    built: ScannItemIndex, folder: Path, vectors: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "missing"))

    with pytest.raises(
        BundleError, match=r"index\.scann: cannot be handed to ScaNN \(No such.*TMP"
    ):
        reopen(folder, built, vectors)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_vectors_that_are_all_alike_are_searched(value: float, tmp_path: Path) -> None:
    vectors = np.full((700, 16), value, dtype=np.float32)
    built = build_scann_index(vectors, kind="scann")
    built.save(tmp_path / "index.scann")

    for item_index in (built, reopen(tmp_path, built, vectors)):
        found = item_index.search(vectors[:2], 100)
        assert all(len(set(rows)) == 100 for rows in found.rows.tolist())
        assert (found.scores == 16 * value).all()


def test_a_file_that_is_no_index_is_refused(
    built: ScannItemIndex, folder: Path, vectors: Floats
) -> None:
    (folder / "index.scann").write_bytes(b"not an index at all, but long enough to be read")

    with pytest.raises(BundleError, match=r"index\.scann: damaged"):
        reopen(folder, built, vectors)


def test_an_index_of_other_settings_than_the_manifest_says_is_refused(
    built: ScannItemIndex, folder: Path, vectors: Floats
) -> None:
    with pytest.raises(BundleError, match="is Tree155,AH12x4,Reorder, the manifest says Flat"):
        reopen(folder, built, vectors, factory="Flat")


def test_a_file_that_cannot_be_written_is_named(built: ScannItemIndex, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing/index: cannot be written \(No such file"):
        built.save(tmp_path / "missing" / "index")


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scann")
    run = write_run(folder / "run", n_items=3000)
    return build_bundle(run, folder / "bundle", kind="scann", target_recall=0.9).path


def test_a_bundle_says_what_it_holds(bundle_path: Path) -> None:
    bundle = open_bundle(bundle_path)
    entry = bundle.manifest.index

    assert bundle.item_index.kind == entry.kind == "scann"
    assert entry.factory.startswith("Tree110,AH8x4")
    assert set(entry.parameters) == {"leaves", "rescoring"}
    assert entry.measured_recall >= 0.9
    assert len(entry.curve) > 1
    # Vectors are held once more, in the memory of each process.
    size = bundle.manifest.files["index.scann"].bytes / 3000
    assert entry.bytes_per_item == pytest.approx(size + 64)
    assert "index.faiss" not in bundle.manifest.files
    report = (bundle_path / "report.html").read_text()
    assert "scann (ScaNN Tree110,AH8x4,Reorder)" in report
    assert "recall@100 by milliseconds for one user" in report
    assert verify_bundle(bundle_path).problems == []


def test_a_new_process_gives_the_same_answers(bundle_path: Path) -> None:
    bundle = open_bundle(bundle_path)
    queries = bundle.encoder.item_vectors[:20]
    expected = bundle.item_index.search(queries, 30)
    program = (
        "import sys, json; from pathlib import Path; from index.bundles.bundle import open_bundle\n"
        "bundle = open_bundle(Path(sys.argv[1]))\n"
        "found = bundle.item_index.search(bundle.encoder.item_vectors[:20], 30)\n"
        "print(json.dumps([found.rows.tolist(), found.scores.tolist()]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(bundle_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )

    assert done.stderr == ""
    assert json.loads(done.stdout) == [expected.rows.tolist(), expected.scores.tolist()]


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == "scann"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scann", None)


@pytest.mark.usefixtures("not_installed")
def test_without_scann_building_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")

    status = main(["build", str(run), "--out", str(tmp_path / "out"), "--kind", "scann"])

    assert status == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: --kind scann: ScaNN, which is optional, cannot be loaded")
    assert "pip install 'opal-match[scann]'" in last
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("not_installed")
def test_without_scann_a_bundle_of_it_says_what_to_install(bundle_path: Path) -> None:
    words = r"index\.scann: ScaNN, which reads it, cannot be loaded .*pip install 'opal-match"

    with pytest.raises(BundleError, match=words):
        open_bundle(bundle_path)
    problems = verify_bundle(bundle_path).problems

    assert len(problems) == 1
    assert "pip install 'opal-match[scann]'" in problems[0]


def test_the_message_names_the_extra_that_there_is() -> None:
    assert "[scann]" in scann_library.INSTALL
    assert "\nscann = [" in (REPOSITORY / "pyproject.toml").read_text()
