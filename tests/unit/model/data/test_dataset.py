"""From a log to a prepared data set and back, against a slow reading of the rules."""

import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.dataset import Dataset, Sequences, prepare
from model.data.splits import TEST, TRAIN, VALID
from model.errors import InputError

LETTERS = "abcdefghijkl"
# Forty rows of at most four users: sequences longer than five, repeats and ties are common.
logs = st.lists(
    st.tuples(st.sampled_from("WXYZ"), st.sampled_from(LETTERS), st.integers(0, 20)),
    min_size=12,
    max_size=40,
)
Row = tuple[str, str, int]


def write_log(path: Path, rows: list[Row]) -> Path:
    text = "\n".join(f"{user},{item},{time}" for user, item, time in rows)
    path.write_text(f"user_id,item_id,timestamp\n{text}\n")
    return path


def one_user(items: str) -> list[Row]:
    return [("u", item, time) for time, item in enumerate(items)]


def names(dataset: Dataset, rows: np.ndarray) -> list[str]:
    return [dataset.catalog["item_id"][int(row)] for row in rows]


def slow_parts(log: list[Row]) -> dict[str, list[tuple[str, int]]]:
    """Each user's (item, part) in time order, users by first row; nothing left out yet."""
    users: dict[str, list[Row]] = {}
    for row in log:
        users.setdefault(row[0], []).append(row)
    parts = {}
    for user, rows in users.items():
        rows.sort(key=lambda row: row[2])  # a stable sort: ties keep file order
        n = max(1, len(rows) // 10) if len(rows) >= 5 else 0
        held_out = [TRAIN] * (len(rows) - 2 * n) + [VALID] * n + [TEST] * n
        parts[user] = [(row[1], part) for row, part in zip(rows, held_out, strict=True)]
    return parts


def slow_sequences(
    parts: dict[str, list[tuple[str, int]]], known: set[str], wanted: int
) -> list[tuple[list[str], set[str]]]:
    result = []
    for sequence in parts.values():
        history = [item for item, part in sequence if part < wanted and item in known]
        targets = {item for item, part in sequence if part == wanted and item in known}
        if history and targets - set(history):
            result.append((history, targets - set(history)))
    return result


@settings(max_examples=25, deadline=None)
@given(logs)
def test_a_data_set_is_the_slow_one(log: list[Row]) -> None:
    parts = slow_parts(log)
    trained = [item for sequence in parts.values() for item, part in sequence if part == TRAIN]
    if len(set(trained)) < 2:
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(write_log(Path(folder) / "log.csv", log), Path(folder) / "out", split="user")
        dataset = Dataset.open(Path(folder) / "out")

        ranking = sorted(set(trained), key=lambda item: (-trained.count(item), item))
        assert dataset.catalog["item_id"].to_list() == ranking
        assert dataset.catalog["interactions"].to_list() == [trained.count(i) for i in ranking]
        sequences = [
            [item for item, _ in sequence if item in ranking] for sequence in parts.values()
        ]
        assert names(dataset, dataset.items) == [item for items in sequences for item in items]
        for kind, part in ((dataset.valid, VALID), (dataset.test, TEST)):
            assert readable(dataset, kind) == slow_sequences(parts, set(ranking), part)


def readable(dataset: Dataset, sequences: Sequences) -> list[tuple[list[str], set[str]]]:
    assert all(len(set(rows.tolist())) == len(rows) for rows in sequences.targets)
    return [
        (names(dataset, history), set(names(dataset, targets)))
        for history, targets in zip(sequences.histories, sequences.targets, strict=True)
    ]


def test_items_that_training_has_not_seen_are_left_out_everywhere(tmp_path: Path) -> None:
    log = [*one_user("abcdefgh"), ("v", "a", 0), ("v", "h", 1)]
    prepare(write_log(tmp_path / "log.csv", log), tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")

    # u trains on a–f, validates on g, tests on h; h is known because v trains on it, g is not.
    assert set(dataset.catalog["item_id"]) == set("abcdefh")
    assert readable(dataset, dataset.valid) == []
    assert readable(dataset, dataset.test) == [(list("abcdef"), {"h"})]
    assert dataset.summary["valid"] == 0
    assert dataset.summary["test"] == 1


def test_users_without_a_known_item_are_no_users(tmp_path: Path) -> None:
    day = 86_400
    log = [("late", "x", 3 * day), ("u", "a", 0), ("u", "b", 1), ("gone", "y", 3 * day)]
    log += [("v", "b", 0), ("v", "a", 2), ("w", "a", 2 * day), ("last", "z", 3 * day)]
    summary = prepare(write_log(tmp_path / "log.csv", log), tmp_path / "out", split="day")
    dataset = Dataset.open(tmp_path / "out")

    assert set(dataset.catalog["item_id"]) == {"a", "b"}
    assert summary["users"] == dataset.n_users == 3
    assert np.diff(dataset.offsets).tolist() == [2, 2, 1]


def test_space_around_ids_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\n" + " u , a\nu,b\nu,a \n" * 4)
    prepare(tmp_path / "log.csv", tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")

    assert sorted(dataset.catalog["item_id"]) == ["a", "b"]
    assert dataset.n_users == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_least_weight_that_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    log = write_log(tmp_path / "log.csv", one_user("abcabcabc"))

    with pytest.raises(InputError, match="--min-weight is"):
        prepare(log, tmp_path / "out", min_weight=value)


def test_the_day_split_tests_users_who_were_there_before(tmp_path: Path) -> None:
    day = 86_400
    log = [("u", "a", 0), ("u", "b", 1), ("u", "b", day), ("u", "c", 2 * day), ("v", "c", 5)]
    log += [("new", "a", 2 * day), ("back", "b", day), ("back", "a", 2 * day)]
    prepare(write_log(tmp_path / "log.csv", log), tmp_path / "out", split="day")
    dataset = Dataset.open(tmp_path / "out")

    assert readable(dataset, dataset.valid) == []  # u's b is in the history, "back" has none
    assert readable(dataset, dataset.test) == [(["a", "b", "b"], {"c"}), (["b"], {"a"})]


def test_the_summary_counts_and_says_why(tmp_path: Path) -> None:
    text = "user_id,item_id\n" + "".join(f"u,{item}\n" for item in "abcabcabca") + "u,\n"
    (tmp_path / "log.csv").write_text(text)
    summary = prepare(tmp_path / "log.csv", tmp_path / "out", on_bad_row="skip")

    assert {name: summary[name] for name in summary if name != "created"} == {
        "format_version": 1,
        "source": "log.csv",
        "split": "user",
        "split_reason": "the log has no timestamps",
        "interactions": 10,
        "users": 1,
        "train": 8,
        "valid": 1,
        "test": 1,
        "items": 3,
        "skipped_rows": 1,
    }
    assert json.loads((tmp_path / "out" / "dataset.json").read_text()) == summary


def test_the_folder_holds_what_its_readers_need_and_no_more(dataset_path: Path) -> None:
    assert sorted(file.name for file in dataset_path.iterdir()) == [
        "dataset.json",
        "interactions.parquet",
        "items.parquet",
    ]
    rows = pl.read_parquet(dataset_path / "interactions.parquet")
    assert rows.columns == ["user", "item", "timestamp", "part"]
    assert rows.sort("user", "timestamp", maintain_order=True).equals(rows)


def test_titles_and_categories_come_along(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", one_user("aab"))
    (tmp_path / "items.csv").write_text("item_id,title,category,url\na,A!,x|y,http://a\nz,Z,,\n")
    prepare(log, tmp_path / "out", items=tmp_path / "items.csv")

    assert Dataset.open(tmp_path / "out").catalog.rows() == [
        ("a", "A!", ["x", "y"], "http://a", 2),
        ("b", None, [], None, 1),
    ]


def test_a_log_in_parts_is_the_log_in_one(tmp_path: Path) -> None:
    log = [(user, item, 0) for user in "uv" for item in "abcdefg"]
    (tmp_path / "parts").mkdir()
    write_log(tmp_path / "parts" / "1.csv", log[:9])
    write_log(tmp_path / "parts" / "2.csv", log[9:])
    prepare(write_log(tmp_path / "log.csv", log), tmp_path / "whole")
    prepare(tmp_path / "parts", tmp_path / "from_parts")

    whole, from_parts = Dataset.open(tmp_path / "whole"), Dataset.open(tmp_path / "from_parts")
    assert np.array_equal(whole.items, from_parts.items)
    assert whole.catalog.equals(from_parts.catalog)


def test_light_interactions_do_not_count(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,weight\nu,a,0.5\nu,b,0.4\nu,c,1\n")

    prepare(log, tmp_path / "out", min_weight=0.5)
    assert set(Dataset.open(tmp_path / "out").catalog["item_id"]) == {"a", "c"}


def test_repr_says_how_much_there_is(dataset: Dataset) -> None:
    assert repr(dataset) == f"<Dataset dataset: 60 users, {dataset.n_items} items>"


def refused(folder: Path, text: str, reason: str) -> None:
    """Prepare a log; it must be refused, and leave nothing behind."""
    (folder / "log.csv").write_text(text)
    with pytest.raises(InputError, match=reason):
        prepare(folder / "log.csv", folder / "out")
    assert [file.name for file in folder.iterdir()] == ["log.csv"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("user_id,item_id\n", "no interactions; a log needs at least two items"),
        ("", "empty; expected a header"),
        ("user_id,item_id\nu,a\nv,a\n", "1 item"),
        ("user_id,item_id\nu,a\nu,\n", r"log\.csv: line 3: field 'item_id' is empty"),
        ("user_id,item\nu,a\n", "column 'item_id' is missing"),
        ('user_id,item_id\nu,a\nv"1,b\n', "line 3: a quote within a field"),
    ],
    ids=["no rows", "no header", "one item", "bad row", "no column", "stray quote"],
)
def test_a_refused_log_leaves_no_folder(tmp_path: Path, text: str, reason: str) -> None:
    refused(tmp_path, text, reason)


def test_a_log_of_bad_rows_only_says_how_many(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\n,a\n,b\n")

    with pytest.raises(InputError, match=r"no interactions \(2 rows were skipped\)"):
        prepare(tmp_path / "log.csv", tmp_path / "out", on_bad_row="skip")
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", one_user("ab"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")

    with pytest.raises(InputError, match="exists already"):
        prepare(log, tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "keep"


def test_a_folder_of_something_else_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a prepared data set"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(InputError, match="not a prepared data set"):
        Dataset.open(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format_version": 99}')
    with pytest.raises(InputError, match="data set format 99, this program reads 1"):
        Dataset.open(tmp_path)


@pytest.mark.parametrize("name", ["interactions.parquet", "items.parquet"])
def test_a_damaged_data_set_is_named(tmp_path: Path, name: str) -> None:
    prepare(write_log(tmp_path / "log.csv", one_user("abc")), tmp_path / "out")
    (tmp_path / "out" / name).write_bytes(b"PAR1")

    with pytest.raises(InputError, match="out: the data set is damaged"):
        Dataset.open(tmp_path / "out")
    (tmp_path / "out" / name).unlink()
    with pytest.raises(InputError, match="out: the data set is damaged"):
        Dataset.open(tmp_path / "out")
