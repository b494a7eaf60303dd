"""Files that are no tables, and what people are told of them."""

import gzip
import random
from pathlib import Path

import polars as pl
import pytest
from polars.exceptions import PolarsError

from model.data.tables import READ_ERRORS, find_parts, place_of, scan_table, unreadable
from model.errors import InputError


def read(path: Path) -> pl.DataFrame:
    frame, _ = scan_table(path, required=("user_id", "item_id"), example="user_id,item_id")
    try:
        return frame.collect()
    except READ_ERRORS as error:
        raise unreadable(path, error) from error


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def test_a_missing_file_is_named(table: Path) -> None:
    with pytest.raises(InputError, match=r"table\.csv: no such file or folder"):
        find_parts(table)


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_SUCCESS").write_text("")

    with pytest.raises(InputError, match="holds no CSV or Parquet file"):
        find_parts(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")
    (tmp_path / "notes.txt").write_text("")

    with pytest.raises(InputError, match=r"notes\.txt: expected a name ending in \.csv"):
        find_parts(tmp_path)


def test_a_missing_column_is_named_with_those_there_are(table: Path) -> None:
    table.write_text("user_id,item\nu1,i1\n")

    assert refusal(table) == "column 'item_id' is missing; the file has: user_id, item"


def test_a_missing_column_of_parquet_is_named(tmp_path: Path) -> None:
    table = tmp_path / "table.parquet"
    pl.DataFrame({"user": [1], "item_id": [1]}).write_parquet(table)

    assert refusal(table) == "column 'user_id' is missing; the file has: user, item_id"


def test_another_separator_shows_in_the_message(table: Path) -> None:
    table.write_text("user_id;item_id\nu1;i1\n")

    assert refusal(table) == "column 'user_id' is missing; the file has: user_id;item_id"


def test_a_doubled_column_is_refused(table: Path) -> None:
    table.write_text("user_id,item_id,item_id\nu1,i1,i2\n")

    assert refusal(table) == "line 1: a column name stands twice: user_id, item_id, item_id"


@pytest.mark.parametrize("content", ["", "\n", "\ufeff\n"])
def test_an_empty_file_is_refused(table: Path, content: str) -> None:
    table.write_text(content)

    assert refusal(table).startswith("empty; expected a header such as user_id")


def test_a_header_alone_is_a_table_without_rows(table: Path) -> None:
    table.write_text("user_id,item_id\n")
    frame, columns = scan_table(table, required=("user_id",), example="user_id")

    assert frame.collect().height == 0
    assert list(columns) == ["user_id", "item_id"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"user_id,item_id\xe9\nu1,i1\n", 1),
        (b"user_id,item_id\nu1,i1\nu2,i\xe9\nu3,i3\n", 3),
        (b'user_id,item_id\n"u\n1",i1\nu2,\xff\n', 4),
    ],
)
def test_text_that_is_not_utf8_is_named_by_line(table: Path, content: bytes, line: int) -> None:
    table.write_bytes(content)

    assert refusal(table) == f"line {line}: not UTF-8 text"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('"u2,i2', "the row that begins at line 4: unexpected end of data"),
        ('"u"2,i2', "the row that begins at line 4: ',' expected after '\"'"),
        ('u"2,i2', "line 4: a quote within a field"),
    ],
)
def test_a_stray_quote_is_named_by_line(table: Path, row: str, problem: str) -> None:
    table.write_text(f'user_id,item_id\n"u\n1",i1\n{row}\nu3,i3\n')

    assert refusal(table).startswith(problem)


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(random.Random(0).randbytes(5000).hex().encode())
    table = tmp_path / "table.csv.gz"
    table.write_bytes(gzip.compress(b"user_id,item_id\n" + b"u1,i1\n" * 5000)[:-20])
    text = tmp_path / "text.csv.gz"
    text.write_text("user_id,item_id\n")
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(whole[:50])

    assert refusal(table).startswith("damaged: ")
    assert refusal(text).startswith("damaged: Not a gzipped file")
    assert refusal(cut).startswith("damaged: ")


@pytest.mark.parametrize("place", [40, 4000, 8000])
def test_a_gzip_that_is_damaged_within_is_named(tmp_path: Path, place: int) -> None:
    rng = random.Random(0)
    rows = "".join(f"u{rng.random()},i{rng.random()}\n" for _ in range(500))
    content = bytearray(gzip.compress(b"user_id,item_id\n" + rows.encode()))
    content[place : place + 8] = b"\xff" * 8
    table = tmp_path / "table.csv.gz"
    table.write_bytes(content)

    assert refusal(table).startswith("damaged: ")


@pytest.mark.parametrize("name", ["__line__", "__surplus__"])
def test_a_column_named_like_one_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(f"user_id,item_id,{name}\nu1,i1,1\n")
    columns = {"user_id": ["u1"], "item_id": ["i1"], name: ["1"]}
    pl.DataFrame(columns).write_parquet(tmp_path / "a.parquet")

    for file in ("a.csv", "a.parquet"):
        assert refusal(tmp_path / file).startswith(f"a column must not be named '{name}'")


def test_a_truncated_parquet_is_named(tmp_path: Path) -> None:
    table = tmp_path / "table.parquet"
    ids = [str(number) for number in range(5000)]
    pl.DataFrame({"user_id": ids, "item_id": ids}).write_parquet(table)
    whole = table.read_bytes()

    table.write_bytes(whole[:-30])
    assert refusal(table).startswith("cannot be read: parquet")
    table.write_bytes(b"")
    assert refusal(table).startswith("cannot be read: ")
    table.write_bytes(b"PAR1" + bytes(len(whole) // 2) + whole[len(whole) // 2 + 4 :])
    assert refusal(table).startswith("cannot be read: ")


def test_the_place_of_a_record_is_the_line_where_it_begins(table: Path) -> None:
    table.write_text('a,b\n\n"x\ny",1\nz,2\n')

    assert [place_of(table, record) for record in (1, 2, 3, 4)] == [
        "line 1",
        "line 2",
        "line 3",
        "line 5",
    ]
    assert place_of(Path("table.parquet"), 3) == "row 3"


def test_what_the_reader_alone_objects_to_is_said_in_its_words(table: Path) -> None:
    table.write_text("user_id,item_id\nu1,i1\n")

    message = str(unreadable(table, PolarsError("too odd\nfor words")))

    assert message == f"{table}: cannot be read: too odd"
