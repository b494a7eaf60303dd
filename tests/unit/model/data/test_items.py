"""What the reader of item tables makes of titles, categories and damage."""

from pathlib import Path

import polars as pl
import pytest

from model.data.items import ITEM_SCHEMA, no_items, read_item_ids, read_items
from model.errors import InputError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "items.csv"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_items(path)
    return str(caught.value).replace(str(path), "ITEMS")


def test_all_columns_are_read(table: Path) -> None:
    table.write_text("url,item_id,title,category,more\nhttp://a,7,A title,x|y,z\n")

    assert read_items(table).rows() == [("7", "A title", ["x", "y"], "http://a")]
    assert dict(read_items(table).schema) == ITEM_SCHEMA


def test_missing_columns_and_empty_fields_are_nothing(table: Path) -> None:
    table.write_text("item_id,title,category\n1,,\n2,  , \n")

    assert read_items(table).rows() == [("1", None, [], None), ("2", None, [], None)]
    table.write_text("item_id\n1\n")
    assert read_items(table).rows() == [("1", None, [], None)]


def test_categories_are_trimmed_and_stand_once_in_given_order(table: Path) -> None:
    table.write_text("item_id,category\n1,b| a |b||c\n")

    assert read_items(table)["category"].to_list() == [["b", "a", "c"]]


def test_list_columns_and_integer_ids_of_parquet_are_taken(tmp_path: Path) -> None:
    table = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": [10, 9], "category": [["a", "b"], None]}).write_parquet(table)

    assert read_items(table).rows() == [("10", None, ["a", "b"], None), ("9", None, [], None)]


def test_array_columns_of_parquet_are_taken_as_lists(tmp_path: Path) -> None:
    table = tmp_path / "items.parquet"
    pl.DataFrame(
        {"item_id": ["a", "b"], "category": [["x", " y"], None], "similar_to": [[1, 2], [3, 3]]},
        schema_overrides={
            "category": pl.Array(pl.String, 2),
            "similar_to": pl.Array(pl.Int64, 2),
        },
    ).write_parquet(table)

    assert read_items(table, similar_to=True).rows() == [
        ("a", None, ["x", "y"], None, ["1", "2"]),
        ("b", None, [], None, ["3"]),
    ]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("item_id", ["a"], "is of type List(String); expected one value a row"),
        ("title", {"en": "A"}, "is of type Struct({'en': String}); expected one value a row"),
        ("category", {"a": "b"}, "expected one text or a list of texts a row"),
        ("similar_to", [["a"]], "expected one text or a list of texts a row"),
    ],
)
def test_a_nested_column_of_parquet_is_named(
    tmp_path: Path, name: str, value: object, words: str
) -> None:
    table = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": ["a"], "title": ["A"]} | {name: [value]}).write_parquet(table)

    said = refusal(table)
    assert said.startswith(f"ITEMS: column '{name}' is of type ")
    assert words in said


def test_float_ids_of_parquet_are_those_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": [50.0, 7.0]}).write_parquet(path)
    assert read_items(path)["item_id"].to_list() == ["50", "7"]

    pl.DataFrame({"item_id": [50.0, 7.5]}).write_parquet(path)
    assert "row 2: field 'item_id' is 7.5" in refusal(path)


def test_an_id_longer_than_the_service_takes_is_refused(table: Path) -> None:
    table.write_text("item_id\n" + "x" * 257 + "\n")

    assert "line 2: field 'item_id' has 257 characters" in refusal(table)


def test_an_empty_file_is_told_what_an_item_table_has(table: Path) -> None:
    table.write_text("")

    assert "expected a header such as item_id,title,category,url" in refusal(table)


def test_parts_of_a_folder_are_one_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item_id,title\n1,A\n")
    (tmp_path / "b.csv").write_text("item_id,url\n2,http://b\n")

    assert read_items(tmp_path).rows() == [("1", "A", [], None), ("2", None, [], "http://b")]


def test_a_row_without_id_is_named_by_line(table: Path) -> None:
    table.write_text('item_id,title\n1,"A\nB"\n ,C\n')

    assert refusal(table) == "ITEMS: line 4: field 'item_id' is empty"


@pytest.mark.parametrize("title", ["Good, the Bad", "Good, the Bad, the Ugly", "a,b,c,d,e"])
@pytest.mark.parametrize("before", ["", "1,A\n"])
def test_a_title_with_an_unquoted_comma_is_not_cut(table: Path, title: str, before: str) -> None:
    table.write_text(f"item_id,title\n{before}2,{title}\n")

    assert refusal(table) == (
        f"ITEMS: line {3 if before else 2}: more than the header's 2 fields; write a field that "
        'holds a comma as "...", or name the further ones in the header'
    )


def test_a_doubled_id_is_refused(table: Path) -> None:
    table.write_text("item_id\n1\n2\n 1\n")

    assert refusal(table) == "ITEMS: line 4: item_id '1' stands more than once"


def test_a_doubled_id_in_two_parts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item_id\n1\n")
    (tmp_path / "b.csv").write_text("item_id\n1\n")

    assert refusal(tmp_path) == "ITEMS: item_id '1' stands more than once"


def test_a_table_without_ids_is_refused(table: Path) -> None:
    table.write_text("title\nA\n")

    assert "column 'item_id' is missing" in refusal(table)


def test_a_stray_quote_is_named_by_line(table: Path) -> None:
    table.write_text('item_id,title\n1,A\n2,12" vinyl\n3,C\n')

    assert refusal(table).startswith("ITEMS: line 3: a quote within a field")


def test_no_items_has_the_same_columns() -> None:
    assert dict(no_items().schema) == ITEM_SCHEMA
    assert no_items().height == 0


def test_ids_are_read_from_tables_and_from_lines(tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text('title,item_id\n"two\nlines",a\n, b \n')
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbfa\r\n\n b \n")
    pl.DataFrame({"item_id": [7.0, 8.0]}).write_parquet(tmp_path / "ids.parquet")

    def read(name: str) -> list[tuple[str, str]]:
        return [
            (each.item_id, each.place().replace(str(tmp_path / name), "FILE"))
            for each in read_item_ids(tmp_path / name)
        ]

    assert read("ids.csv") == [("a", "FILE: line 2"), ("b", "FILE: line 4")]
    assert read("ids.txt") == [("a", "FILE: line 1"), ("b", "FILE: line 3")]
    assert read("ids.parquet") == [("7", "FILE: row 1"), ("8", "FILE: row 2")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("ids.txt", b"a\n\xff\n", "line 2: not UTF-8 text"),
        ("ids.txt", b"a\n" + b"x" * 257, "line 2: has 257 characters; an id has at most 256"),
        ("ids.txt", b"\n \n", "holds no item id"),
        ("ids.csv", b"item_id\n", "holds no item id"),
        ("ids.csv", b"item_id,title\na,A\n,B\n", "line 3: field 'item_id' is empty"),
    ],
)
def test_ids_that_cannot_be_read_are_named_by_line(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError) as caught:
        read_item_ids(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name}: {words}"


def test_a_list_of_ids_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.txt: cannot be read: No such file"):
        read_item_ids(tmp_path / "nothing.txt")
