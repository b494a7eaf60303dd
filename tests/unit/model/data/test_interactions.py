"""What the reader of interaction logs makes of each kind of row."""

import datetime
import gzip
from pathlib import Path

import polars as pl
import pytest

from model.data.ids import MAX_ID_LENGTH
from model.data.interactions import scan_interactions
from model.errors import InputError

HEADER = "user_id,item_id,timestamp\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.csv"


def good_rows(path: Path) -> list[tuple[object, ...]]:
    return [row for part in scan_interactions(path) for row in part.good_rows().collect().rows()]


def bad_rows(path: Path) -> list[tuple[object, ...]]:
    return [row for part in scan_interactions(path) for row in part.bad_rows().collect().rows()]


def seconds_of(log: Path, text: str) -> object:
    log.write_text(f'{HEADER}u,i,"{text}"\n')
    assert bad_rows(log) == []
    return good_rows(log)[0][2]


def refusal(path: Path) -> str:
    (part,) = scan_interactions(path)
    with pytest.raises(InputError) as caught:
        part.check("stop")
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message.replace(str(path), "LOG")


def test_csv_rows_are_read_with_their_types(log: Path) -> None:
    log.write_text("item_id,user_id,weight,timestamp,note\ni1,u1,0.5,7,x\ni2,u2,2,8.25,\n")

    assert good_rows(log) == [("u1", "i1", 7.0, 0.5), ("u2", "i2", 8.25, 2.0)]


def test_gzip_is_read_like_plain_text(tmp_path: Path) -> None:
    log = tmp_path / "log.csv.gz"
    log.write_bytes(gzip.compress(f"{HEADER}u1,i1,7\n".encode()))

    assert good_rows(log) == [("u1", "i1", 7.0, 1.0)]


def test_parquet_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log.parquet"
    pl.DataFrame({"user_id": ["u1"], "item_id": ["i1"], "timestamp": [7]}).write_parquet(log)

    assert good_rows(log) == [("u1", "i1", 7.0, 1.0)]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt32, pl.Categorical])
def test_parquet_ids_of_other_types_become_text(tmp_path: Path, dtype: type[pl.DataType]) -> None:
    log = tmp_path / "log.parquet"
    ids = pl.Series(["10", "9"]) if dtype is pl.Categorical else pl.Series([10, 9])
    frame = pl.DataFrame({"user_id": ids.cast(dtype), "item_id": ids.cast(dtype)})
    frame.write_parquet(log)

    assert good_rows(log) == [("10", "10", None, 1.0), ("9", "9", None, 1.0)]


def test_parquet_ids_that_pandas_made_floats_are_whole_numbers_again(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    ids = {"user_id": [1.0, 2.0], "item_id": [50.0, -3.0]}
    pl.DataFrame(ids).write_parquet(path)

    assert [row[:2] for row in good_rows(path)] == [("1", "50"), ("2", "-3")]
    assert bad_rows(path) == []


@pytest.mark.parametrize("value", [50.5, float("nan"), float("inf"), 1e17])
def test_parquet_ids_that_are_no_whole_numbers_are_bad_rows(tmp_path: Path, value: float) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user_id": ["u"], "item_id": [value]}).write_parquet(path)

    assert "row 1: field 'item_id' is" in refusal(path)
    assert "expected text or a whole number" in refusal(path)


@pytest.mark.parametrize("field", ["user_id", "item_id"])
def test_an_id_longer_than_the_service_takes_is_a_bad_row(log: Path, field: str) -> None:
    longest = "é" * MAX_ID_LENGTH
    ids = {"user_id": "u", "item_id": "i", field: longest}
    log.write_text("user_id,item_id\n{user_id},{item_id}\n".format(**ids))
    assert len(good_rows(log)) == 1

    ids[field] += "x"
    log.write_text("user_id,item_id\n{user_id},{item_id}\n".format(**ids))
    assert f"line 2: field '{field}' has 257 characters; an id has at most 256" in refusal(log)


def test_csv_ids_keep_their_zeros(log: Path) -> None:
    log.write_text("user_id,item_id\n007,0010\n1e3,NaN\n")

    assert good_rows(log) == [("007", "0010", None, 1.0), ("1e3", "NaN", None, 1.0)]


def test_parts_of_a_folder_are_read_in_name_order(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(f"{HEADER}u2,i2,2\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(f"{HEADER}u1,i1,1\n".encode()))
    (tmp_path / "c.parquet").write_bytes(b"")
    pl.DataFrame({"user_id": [3], "item_id": [3], "timestamp": [3]}).write_parquet(
        tmp_path / "c.parquet"
    )
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / ".part.crc").write_text("")

    assert [row[:2] for row in good_rows(tmp_path)] == [("u1", "i1"), ("u2", "i2"), ("3", "3")]


def test_a_bad_row_is_named_with_its_own_part(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADER}u1,i1,1\n")
    (tmp_path / "b.csv").write_text(f"{HEADER}u2,,2\n")
    first, second = scan_interactions(tmp_path)

    assert first.check("stop") == 0
    with pytest.raises(InputError, match=r"b\.csv: line 2: field 'item_id' is empty"):
        second.check("stop")


def test_parts_that_disagree_on_timestamps_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADER}u1,i1,1\n")
    (tmp_path / "b.csv").write_text("user_id,item_id\nu2,i2\n")

    with pytest.raises(InputError, match=r"b\.csv: column 'timestamp' is missing, but .*a\.csv"):
        scan_interactions(tmp_path)


BAD_ROWS = {
    "no user": (",i1,5", "field 'user_id' is empty"),
    "blank user": ('"  ",i1,5', "field 'user_id' is empty"),
    "no item": ("u1,,5", "field 'item_id' is empty"),
    "too short": ("u1", "field 'item_id' is empty"),
    "no time": ("u1,i1,", "field 'timestamp' is ''"),
    "time missing": ("u1,i1", "field 'timestamp' is ''"),
    "no such time": ("u1,i1,2024-13-01", "field 'timestamp' is '2024-13-01'"),
    "words": ("u1,i1,now", "field 'timestamp' is 'now'; expected seconds since epoch or ISO 8601"),
    "not a number": ("u1,i1,nan", "field 'timestamp' is 'nan'"),
    "infinite": ("u1,i1,inf", "field 'timestamp' is 'inf'"),
    "milliseconds": (
        "u1,i1,1700000000000",
        "field 'timestamp' is 1700000000000; expected seconds, this looks like milliseconds",
    ),
    "too long": ("u1,i1,5,1,9", "more than the header's 4 fields"),
    "weight in words": ("u1,i1,5,much", "field 'weight' is 'much'; expected a number ≥ 0"),
    "negative weight": ("u1,i1,5,-1", "field 'weight' is '-1'; expected a number ≥ 0"),
    "infinite weight": ("u1,i1,5,inf", "field 'weight' is 'inf'; expected a number ≥ 0"),
}


@pytest.mark.parametrize(("row", "problem"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_a_bad_row_is_named_by_file_line_and_field(log: Path, row: str, problem: str) -> None:
    log.write_text(f"user_id,item_id,timestamp,weight\nu0,i0,1,1\n{row}\nu2,i2,2,1\n")

    assert f"LOG: line 3: {problem}" in refusal(log)
    assert "--on-bad-row skip" in refusal(log)


def test_an_empty_weight_is_a_bad_row(log: Path) -> None:
    log.write_text("user_id,item_id,weight\nu1,i1,\n")

    assert "LOG: line 2: field 'weight' is ''" in refusal(log)


def test_bad_rows_are_skipped_and_counted(log: Path) -> None:
    rows = [row for row, _ in BAD_ROWS.values()]
    text = "\n".join([line for row in rows for line in ("u0,i0,1,1", row)])
    log.write_text(f"user_id,item_id,timestamp,weight\n{text}\n")
    (part,) = scan_interactions(log)

    assert part.check("skip") == len(rows)
    assert part.good_rows().collect().rows() == [("u0", "i0", 1.0, 1.0)] * len(rows)


def test_a_first_row_with_many_fields_too_many_is_a_bad_row(log: Path) -> None:
    log.write_text("user_id,item_id\nu0,i0,1,2,3\nu1,i1\n")

    assert "LOG: line 2: more than the header's 2 fields; write a field that" in refusal(log)
    assert good_rows(log) == [("u1", "i1", None, 1.0)]


def test_a_nested_column_of_parquet_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log.parquet"
    pl.DataFrame({"user_id": [1], "item_id": [[1, 2]]}).write_parquet(log)

    with pytest.raises(
        InputError, match=r"log\.parquet: column 'item_id' is of type List\(Int64\)"
    ):
        scan_interactions(log)


def test_a_bad_row_of_parquet_is_named_by_its_number(tmp_path: Path) -> None:
    log = tmp_path / "log.parquet"
    pl.DataFrame({"user_id": [1, 2, None], "item_id": [1, 2, 3]}).write_parquet(log)

    assert "LOG: row 3: field 'user_id' is empty" in refusal(log)


def test_blank_lines_are_no_rows_but_count_as_lines(log: Path) -> None:
    log.write_text(f"{HEADER}\nu1,i1,1\n\n\nu2,,2\n\n")

    assert len(good_rows(log)) == 1
    assert [line for line, _ in bad_rows(log)] == [6]
    assert "line 6:" in refusal(log)


def test_line_numbers_are_right_after_quoted_newlines(log: Path) -> None:
    log.write_text(f'{HEADER}"u\n\n1",i1,1\n"u2","a\nb",2\n"u\n3",,3\n')

    assert [row[:2] for row in good_rows(log)] == [("u\n\n1", "i1"), ("u2", "a\nb")]
    assert "line 7: field 'item_id'" in refusal(log)


def test_a_late_bad_row_of_a_long_file_is_found(log: Path) -> None:
    log.write_text(HEADER + "u1,i1,1\n" * 60_000 + "u1,,1\n" + "u1,i1,1\n" * 10)

    assert "line 60002:" in refusal(log)


def test_byte_order_mark_and_windows_line_ends_are_no_content(log: Path) -> None:
    log.write_bytes(b"\xef\xbb\xbfuser_id,item_id,timestamp\r\nu1,i1,1\r\n\r\nu2,,2\r\n")

    assert good_rows(log) == [("u1", "i1", 1.0, 1.0)]
    assert "line 4: field 'item_id'" in refusal(log)


def test_a_last_line_needs_no_line_end(log: Path) -> None:
    log.write_text(f"{HEADER}u1,i1,1\nu2,i2,2")

    assert len(good_rows(log)) == 2


def test_space_around_names_ids_and_times_does_not_count(log: Path) -> None:
    log.write_text(" user_id , item_id,timestamp \n u1 ,\ti1, 7 \n")

    assert good_rows(log) == [("u1", "i1", 7.0, 1.0)]


def test_quotes_follow_the_rules_of_csv(log: Path) -> None:
    log.write_text('user_id,item_id\nu1,"i""1"\n"u,2",i2\n')

    assert [row[:2] for row in good_rows(log)] == [("u1", 'i"1'), ("u,2", "i2")]


ISO = {
    "2024-01-02": "2024-01-02T00:00:00+00:00",
    "2024-01-02T03:04": "2024-01-02T03:04:00+00:00",
    "2024-01-02 03:04": "2024-01-02T03:04:00+00:00",
    "2024-01-02T03:04Z": "2024-01-02T03:04:00+00:00",
    "2024-01-02T03:04+02:00": "2024-01-02T03:04:00+02:00",
    "2024-01-02T03:04:05": "2024-01-02T03:04:05+00:00",
    "2024-01-02T03:04:05.25": "2024-01-02T03:04:05.250000+00:00",
    "2024-01-02T03:04:05Z": "2024-01-02T03:04:05+00:00",
    "2024-01-02T03:04:05+02:00": "2024-01-02T03:04:05+02:00",
    "2024-01-02 03:04:05.5-0530": "2024-01-02T03:04:05.500000-05:30",
    "1969-12-31T23:59:59Z": "1969-12-31T23:59:59+00:00",
}


@pytest.mark.parametrize(("text", "meant"), ISO.items(), ids=ISO.keys())
def test_iso_times_are_seconds_since_epoch(log: Path, text: str, meant: str) -> None:
    assert seconds_of(log, text) == datetime.datetime.fromisoformat(meant).timestamp()


@pytest.mark.parametrize(("text", "seconds"), [("1.5e9", 1.5e9), ("-5", -5.0), ("7.25", 7.25)])
def test_numbers_are_seconds_since_epoch(log: Path, text: str, seconds: float) -> None:
    assert seconds_of(log, text) == seconds


def test_iso_times_and_seconds_may_stand_in_one_column(log: Path) -> None:
    log.write_text(f"{HEADER}u1,i1,86400\nu1,i2,1970-01-03\n")

    assert [row[2] for row in good_rows(log)] == [86_400.0, 172_800.0]


def test_temporal_columns_of_parquet_are_seconds_since_epoch(tmp_path: Path) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5, 250_000, tzinfo=zone)
    day = datetime.date(2024, 1, 2)
    ids = {"user_id": ["u"], "item_id": ["i"]}
    moments, days, naive = (tmp_path / f"{name}.parquet" for name in ("moments", "days", "naive"))
    pl.DataFrame({**ids, "timestamp": [moment]}).write_parquet(moments)
    pl.DataFrame({**ids, "timestamp": [day]}).write_parquet(days)
    pl.DataFrame(
        {**ids, "timestamp": pl.Series([moment.replace(tzinfo=None)], dtype=pl.Datetime("ns"))}
    ).write_parquet(naive)

    assert good_rows(moments)[0][2] == moment.timestamp()
    assert good_rows(days)[0][2] == 1_704_153_600.0
    assert good_rows(naive)[0][2] == moment.timestamp() + 2 * 3600


def test_parts_are_scanned_lazily(log: Path) -> None:
    log.write_text(f"{HEADER}u1,i1,1\n")
    (part,) = scan_interactions(log)
    log.write_text(f"{HEADER}u9,i1,1\n")

    assert part.good_rows().collect()["user_id"].to_list() == ["u9"]
