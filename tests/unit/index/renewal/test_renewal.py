"""New bundles from old ones: items added and removed, without training."""

import json
from pathlib import Path

import numpy as np
import pytest

from index.__main__ import main
from index.bundles.build import build_bundle
from index.bundles.bundle import Bundle, open_bundle
from index.bundles.probes import open_probes
from index.registry.registry import Registry
from index.renewal.renewal import add_items, remove_items
from index.search.retrieval import retrieve, similar_items
from model.errors import InputError
from tests.bundles import item_id, write_popular_run, write_rival_run, write_run
from tests.optional import SCANN

NOTHING = np.empty(0, dtype=np.int64)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    return build_bundle(write_run(folder / "run"), folder / "bundle").path


@pytest.fixture(scope="module")
def approximate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("approximate")
    run = write_run(folder / "run", n_items=8000, dim=32)
    return build_bundle(run, folder / "bundle", kind="ivf-sq", target_recall=0.9).path


@pytest.fixture(scope="module")
def scann(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scann")
    run = write_run(folder / "run", n_items=8000, dim=32)
    return build_bundle(run, folder / "bundle", kind="scann", target_recall=0.9).path


@pytest.fixture(scope="module", params=[True, False], ids=["unit", "any-length"])
def rival(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rival")
    run = write_rival_run(folder / "run", unit_vectors=request.param)
    return build_bundle(run, folder / "bundle").path


def test_a_rivals_new_items_are_means_and_no_longer_than_its_longest(
    rival: Path, tmp_path: Path
) -> None:
    like = f"{item_id(1)}|{item_id(2)}"
    new = table(tmp_path, f"item_id,similar_to,category\nlike,{like},\nnew,,genre-0\n")

    bundle = open_bundle(add_items(rival, new, tmp_path / "next").path)

    vectors = bundle.encoder.item_vectors
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(vectors[-2], vectors[1:3].mean(axis=0), atol=1e-6)
    assert lengths[:-2].max() == pytest.approx(1 if bundle.encoder.unit_vectors else 3, abs=0.05)
    members = vectors[bundle.catalog.rows_in(["genre-0"])[:-1]]
    assert np.linalg.norm(members.mean(axis=0)) < lengths[-1] <= lengths[:-2].max() + 1e-6


def test_a_rivals_bundle_loses_items(rival: Path, tmp_path: Path) -> None:
    bundle = open_bundle(remove_items(rival, [item_id(3)], tmp_path / "next").path)

    assert bundle.manifest.model.name == "comirec-sa"
    assert bundle.catalog.n_items == open_bundle(rival).catalog.n_items - 1


@pytest.fixture(scope="module")
def popular(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("popular")
    return build_bundle(write_popular_run(folder / "run"), folder / "bundle").path


def test_new_items_have_lengths_as_popular_as_what_they_are_made_of(
    popular: Path, tmp_path: Path
) -> None:
    like = f"{item_id(1)}|{item_id(2)}"
    text = f"item_id,similar_to,category\nlike,{like},\nafter,like,\nnew,,genre-0\n"
    encoder = open_bundle(add_items(popular, table(tmp_path, text), tmp_path / "n").path).encoder
    vectors, lengths = encoder.item_vectors, encoder.item_lengths
    assert lengths is not None
    n_items = len(lengths) - 3

    assert lengths[[-3, -2]].tolist() == pytest.approx([lengths[1:3].mean()] * 2)
    np.testing.assert_allclose(
        np.linalg.norm(vectors[-3]), np.linalg.norm(vectors[1:3].mean(axis=0)), rtol=1e-5
    )
    in_histories = np.linalg.norm(encoder.history_vectors(np.arange(len(lengths))), axis=1)
    np.testing.assert_allclose(in_histories[:n_items], 1, rtol=1e-5)
    assert (in_histories[n_items:] <= 1 + 1e-6).all()
    assert in_histories[-3] < 1, "a mean is shorter than what it is made of"


def test_the_lengths_of_what_stays_stay(popular: Path, tmp_path: Path) -> None:
    before = open_bundle(popular).encoder
    after = open_bundle(remove_items(popular, [item_id(3)], tmp_path / "next").path).encoder

    assert before.item_lengths is not None
    np.testing.assert_array_equal(after.item_lengths, np.delete(before.item_lengths, 3))
    rows = np.array([0, 3, 4])
    np.testing.assert_array_equal(
        after.encode(rows).vectors, before.encode(rows + (rows > 2)).vectors
    )


def test_similar_items_are_so_whatever_their_popularity(popular: Path, tmp_path: Path) -> None:
    like = "|".join(item_id(row) for row in range(0, 200, 10))
    text = f"item_id,similar_to,category\nvague,{like},\n"
    bundle = open_bundle(add_items(popular, table(tmp_path, text), tmp_path / "n").path)
    encoder, n_items = bundle.encoder, bundle.catalog.n_items
    in_histories = encoder.history_vectors(np.arange(n_items))
    for row in (7, n_items - 1):
        found = similar_items(
            bundle.item_index,
            encoder.item_vectors,
            row,
            20,
            item_lengths=encoder.item_lengths,
        )
        cosines = in_histories @ (in_histories[row] / np.linalg.norm(in_histories[row]))
        best = np.argsort(-cosines, kind="stable")
        best = best[best != row][:20]
        np.testing.assert_array_equal(found.rows, best)
        np.testing.assert_allclose(found.scores, cosines[best], rtol=1e-4)


def table(folder: Path, text: str) -> Path:
    path = folder / "new.csv"
    path.write_text(text)
    return path


def ids_found(bundle: Bundle, history: list[str], n: int) -> list[str]:
    encoded = bundle.encoder.encode(bundle.catalog.rows_of(history))
    found = retrieve(bundle.item_index, encoded.vectors, n, excluded=NOTHING)
    return bundle.catalog.ids_of(found.rows)


@pytest.mark.parametrize("kind", ["base", "approximate", SCANN])
def test_a_new_item_is_found_from_then_on(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    old = request.getfixturevalue(kind)
    items = table(
        tmp_path,
        "item_id,title,category,url,similar_to\n"
        "new-1,First,genre-1|fresh,http://a,item-0004|item-0008\n"
        "new-2,,genre-2,,\n",
    )

    renewed = add_items(old, items, tmp_path / "bundle")

    bundle, before = open_bundle(renewed.path), open_bundle(old)
    n = before.catalog.n_items
    assert bundle.catalog.n_items == n + 2
    assert bundle.catalog.rows_of(["new-1", "new-2"]).tolist() == [n, n + 1]
    assert bundle.catalog.titles_of(np.array([n, n + 1])) == ["First", None]
    assert bundle.catalog.categories_of(np.array([n])) == [["genre-1", "fresh"]]
    assert bundle.catalog.cold.tolist() == [False] * n + [True] * 2
    assert bundle.manifest.catalog.cold == 2
    assert bundle.manifest.derived_from is not None
    assert bundle.manifest.derived_from.model_dump() == {
        "version": before.version,
        "added": 2,
        "removed": 0,
    }
    # Whoever liked the items that it is like gets it.
    assert "new-1" in ids_found(bundle, ["item-0004", "item-0008"], 20)
    nearest = similar_items(bundle.item_index, bundle.encoder.item_vectors, 4, 50)
    assert n in nearest.rows
    # It may stand in a history, too.
    assert ids_found(bundle, ["new-1"], 5)


def test_what_was_there_stays_as_it_was(tmp_path: Path) -> None:
    base = build_bundle(write_run(tmp_path / "run", stage="hard"), tmp_path / "base").path
    items = table(tmp_path, "item_id,similar_to\nnew,item-0001\n")

    bundle = open_bundle(add_items(base, items, tmp_path / "bundle").path)

    before = open_bundle(base)
    np.testing.assert_array_equal(bundle.encoder.item_vectors[:-1], before.encoder.item_vectors)
    assert bundle.catalog.to_frame()[:-1].equals(before.catalog.to_frame())
    history = np.array([3, 5, 8])
    np.testing.assert_array_equal(
        bundle.encoder.encode(history).vectors, before.encoder.encode(history).vectors
    )
    assert bundle.manifest.metrics == before.manifest.metrics
    assert bundle.version != before.version
    assert (
        b"This is the report of bundle " + before.version.encode()
        in (bundle.path / "report.html").read_bytes()
    )


def test_items_are_added_to_what_was_added_before(base: Path, tmp_path: Path) -> None:
    first = add_items(base, table(tmp_path, "item_id,similar_to\na,item-0001\n"), tmp_path / "1")

    # "a" is cold and of no trained category: it still serves where nothing else is known.
    second = add_items(first.path, table(tmp_path, "item_id,similar_to\nb,a\n"), tmp_path / "2")

    bundle = open_bundle(second.path)
    assert bundle.catalog.cold.sum() == 2
    assert bundle.manifest.catalog.cold == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("item_id,similar_to\nitem-0003,item-0001\n", "in the bundle already: 'item-0003'"),
        ("item_id,similar_to\nnew,nobody\n", "nothing is known of item 'new'"),
        ("item_id,category\nnew,\n", "nothing is known of item 'new'"),
        ("item_id,category\nnew,genre-1\nnew,genre-2\n", "line 3: item_id 'new' stands more"),
        ("item_id,category\n", "holds no item"),
        ("title\nno id\n", "item_id"),
    ],
)
def test_what_cannot_be_added_is_named(text: str, words: str, base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        add_items(base, table(tmp_path, text), tmp_path / "bundle")

    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


@pytest.mark.parametrize("kind", ["base", "approximate", SCANN])
def test_a_removed_item_is_gone_and_the_others_stay(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    old = open_bundle(request.getfixturevalue(kind))
    gone = [item_id(0), item_id(7), item_id(250)]

    bundle = open_bundle(remove_items(old.path, gone, tmp_path / "bundle").path)

    n = old.catalog.n_items
    assert bundle.catalog.n_items == n - 3
    assert (bundle.catalog.rows_of(gone) == -1).all()
    kept = [each for each in old.catalog.ids_of(np.arange(n)) if each not in gone]
    assert bundle.catalog.ids_of(np.arange(n - 3)) == kept
    moved = bundle.catalog.rows_of(kept[:400])
    np.testing.assert_array_equal(
        bundle.encoder.item_vectors[moved],
        old.encoder.item_vectors[old.catalog.rows_of(kept[:400])],
    )
    history = kept[2:8]
    wanted = [each for each in ids_found(old, history, 60) if each not in gone]
    found = ids_found(bundle, history, 50)
    assert len(set(found) & set(wanted[:50])) >= (50 if kind == "base" else 45)


def test_items_that_are_not_there_cannot_be_removed(base: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no item 'nobody'; leave them out"):
        remove_items(base, [item_id(1), "nobody"], tmp_path / "bundle")

    assert list(tmp_path.iterdir()) == []


def test_items_of_a_file_are_removed(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gone.txt"
    file.write_text(f"{item_id(1)}\n{item_id(2)}\n")
    command = ["remove-items", "--bundle", str(base), "--items-file", str(file)]

    assert main([*command, item_id(2), item_id(3), "--out", str(tmp_path / "out")]) == 0

    catalog = open_bundle(tmp_path / "out").catalog
    assert catalog.n_items == 297
    assert (catalog.rows_of([item_id(row) for row in (1, 2, 3)]) == -1).all()
    file.write_text(f"{item_id(1)}\n\nnobody\nno other\n")
    assert main([*command, "--out", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err.endswith(
        f"gone.txt: line 3: {base} has no item 'nobody', 'no other'; leave them out\n"
    )
    with pytest.raises(SystemExit) as caught:
        main(["remove-items", "--bundle", str(base), "--out", str(tmp_path / "x")])
    assert caught.value.code == 2
    assert "name items, or a file of them with --items-file" in capsys.readouterr().err


def test_the_last_item_cannot_be_removed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n_items=2, k=1, n_histories=0)
    base = build_bundle(run, tmp_path / "base").path

    with pytest.raises(InputError, match="no item would be left"):
        remove_items(base, [item_id(0), item_id(1)], tmp_path / "bundle")


def test_both_are_commands(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry, out = tmp_path / "registry", tmp_path / "out"
    Registry(registry).publish(base)
    items = table(tmp_path, "item_id,similar_to\nnew,item-0001\n")

    assert main(["add-items", str(items), "--registry", str(registry), "--out", str(out)]) == 0
    assert "301 items (1 added to" in capsys.readouterr().out
    Registry(registry).publish(out)
    again = ["remove-items", "new", item_id(5), "--registry", str(registry), "--json"]
    assert main([*again, "--out", str(tmp_path / "less")]) == 0
    removed = json.loads(capsys.readouterr().out)
    assert removed["derived_from"] == {
        "version": open_bundle(out).version,
        "added": 0,
        "removed": 2,
    }
    assert removed["catalog"] == {"items": 299, "dim": 16, "cold": 0}
    assert main(["remove-items", "x", "--bundle", str(out), "--out", str(tmp_path / "x")]) == 1
    assert "has no item 'x'" in capsys.readouterr().err
    assert main(["add-items", str(items), "--registry", str(tmp_path), "--out", "y"]) == 1
    assert "has no CURRENT" in capsys.readouterr().err


def test_ids_that_nobody_knows_are_told(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    unknown = [f"nobody-{number}" for number in range(7)]
    rows = [f"{each}-new,item-0001|{each}|nobody-0\n" for each in unknown]
    items = table(tmp_path, "item_id,similar_to\n" + "".join(rows))
    command = ["add-items", str(items), "--bundle", str(base), "--json", "--out"]

    assert main([*command, str(tmp_path / "out")]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["unknown_similar_to"] == {"count": 7, "first": unknown[:5]}
    assert (
        "new.csv: 7 ids of similar_to are neither in the bundle nor here, and count for nothing: "
        "'nobody-0', 'nobody-1', 'nobody-2', 'nobody-3', 'nobody-4' and 2 more"
    ) in caplog.text

    caplog.clear()
    items.write_text("item_id,similar_to\nnew,item-0001\nother,new\n")
    assert main([*command, str(tmp_path / "other")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["unknown_similar_to"] == {"count": 0, "first": []}
    assert "count for nothing" not in caplog.text


def test_many_small_additions_take_no_more_of_the_answers_than_one_large_one(
    approximate: Path, tmp_path: Path
) -> None:
    n, bundle = open_bundle(approximate).catalog.n_items, approximate
    for step in range(5):
        rows = [f"cold-{step}-{number},genre-{number % 4}\n" for number in range(200)]
        items = table(tmp_path, "item_id,category\n" + "".join(rows))
        bundle = add_items(bundle, items, tmp_path / f"bundle-{step}").path

    probes, last = open_probes(bundle), open_bundle(bundle)
    assert last.catalog.cold.sum() == 1000
    # Cold items are a ninth of the catalog; of each addition as many as it is of the catalog then.
    assert last.catalog.cold[probes.rows].mean() <= 1.5 * 1000 / (n + 1000)


def test_a_kind_that_cannot_grow_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n_items=500)
    base = build_bundle(run, tmp_path / "base", kind="NSG16,Flat", target_recall=0.1).path
    items = table(tmp_path, "item_id,similar_to\nnew,item-0001\n")

    with pytest.raises(InputError, match=r"kind NSG16,Flat: Faiss cannot add to it \(.*another"):
        add_items(base, items, tmp_path / "bundle")
