import argparse
import json

import pytest

from tests.bench.measuring import Row, Table, show, summarise, to_markdown

ROWS: list[Row] = [{"part": "encode", "users": 1617, "ms": 0.51234, "speed": 12345.6}]


def test_p99_is_a_time_that_was_measured() -> None:
    times = summarise([number / 1000 for number in range(1, 201)])

    assert times.median == pytest.approx(100.5)
    assert times.p99 == pytest.approx(198)


def test_one_measurement_is_its_own_median_and_p99() -> None:
    assert summarise([0.002]) == (2.0, 2.0)


def test_a_table_is_markdown_with_three_significant_digits() -> None:
    assert to_markdown(ROWS).splitlines() == [
        "| part | users | ms | speed |",
        "| --- | --- | --- | --- |",
        "| encode | 1,617 | 0.512 | 12,346 |",
    ]


def test_a_quick_run_says_that_its_times_mean_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(quick=True, json=False)
    show("Name", [Table("Title", ROWS)], threads="one thread", options=options)
    printed = capsys.readouterr().out

    assert printed.startswith("## Name\n")
    assert "mean nothing" in printed
    assert "| encode |" in printed


def test_json_is_one_document_with_the_numbers_as_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = argparse.Namespace(quick=False, json=True)
    show("Name", [Table("Title", ROWS)], threads="one thread", options=options)
    document = json.loads(capsys.readouterr().out)

    assert document["tables"] == [{"title": "Title", "rows": ROWS}]
