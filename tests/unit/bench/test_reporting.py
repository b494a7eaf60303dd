"""What is made of loads: promises, rows, the plot, and the section of the documentation."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.bench.docs_section import to_section, write_section
from tests.bench.findings import (
    AT_LEAST,
    AT_MOST,
    LESS_THAN,
    CurvePoint,
    Promise,
    load_row,
    ratios,
)
from tests.bench.load_plan import Plan
from tests.bench.measuring import Table
from tests.bench.outcome import Outcome
from tests.bench.peers.core import OURS, PLAIN
from tests.bench.scenarios import comparison
from tests.bench.scenarios.open_loop import goodput
from tests.bench.scenarios.scale import QUICK
from tests.bench.scenarios.stacks import (
    BARE,
    CACHE_OFF,
    HITS,
    PLAIN_FASTAPI,
    REDIS_HITS,
    Loads,
    Stack,
)
from tests.bench.service_plot import COLOURS, draw

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("sense", "wanted", "holds"),
    [
        (AT_LEAST, 2.0, "yes"),
        (AT_LEAST, 2.1, "no"),
        (AT_MOST, 2.0, "yes"),
        (AT_MOST, 1.9, "no"),
        (LESS_THAN, 2.0, "no"),
        (LESS_THAN, 2.1, "yes"),
    ],
)
def test_a_promise_is_judged_by_the_median_of_its_rounds(
    sense: str, wanted: float, holds: str
) -> None:
    row = Promise("what", [9.0, 1.0, 2.0], sense, wanted).to_row()

    assert (row["found"], row["least"], row["largest"]) == (2.0, 1.0, 9.0)
    assert row["holds"] == holds


def test_ratios_are_within_a_round() -> None:
    assert ratios([10.0, 2.0], [5.0, 4.0]) == [2.0, 0.5]


def test_a_row_tells_failures_of_all_rounds_by_kind() -> None:
    rounds = [
        Outcome(1.0, [0.0] * 3, [0.001, 0.002, 0.003], [(0.1, "503"), (0.2, "504")], cached=3),
        Outcome(1.0, [0.0], [0.004], [(0.1, "503")]),
    ]
    row = load_row(rounds)

    assert row["failures"] == "2 × 503, 1 × 504"
    assert row["requests/s"] == 2.0
    assert row["p99"] == pytest.approx(4.0)
    assert row["from cache"] == 0.5


def test_goodput_leaves_out_what_came_after_the_deadline() -> None:
    assert goodput(Outcome(2.0, [0.0] * 4, [0.1, 0.4, 0.6, 9.0])) == 1.0


def loads_of(speeds: dict[str, int]) -> Loads:
    """One round in which each stack gave so many answers in a second, in 1 / speed each."""
    return Loads(
        {
            (name, connections): [Outcome(1.0, [0.0] * count, [1 / count] * count)]
            for name, count in speeds.items()
            for connections in (QUICK.connections[0], QUICK.busy)
        }
    )


def stack(name: str, core: str, *, is_rival: bool) -> Stack:
    return Stack(name, core, lambda _: pytest.fail("not to be started"), [], is_rival=is_rival)


def test_ratios_compare_with_the_best_peer_on_each_core() -> None:
    stacks = [
        stack(CACHE_OFF, OURS, is_rival=False),
        stack(PLAIN_FASTAPI, PLAIN, is_rival=True),
        stack("slow", PLAIN, is_rival=True),
        stack("fast", PLAIN, is_rival=True),
        stack("fast", OURS, is_rival=True),
    ]
    speeds = {CACHE_OFF: 100, PLAIN_FASTAPI: 80, "slow": 10, "fast": 50, "fast, our core": 125}
    loads = loads_of({**speeds, BARE: 1000, HITS: 700, REDIS_HITS: 400})
    found = {each.what: each for each in comparison.promises(stacks, loads, QUICK, [200.0])}

    assert found["cache off to our core without HTTP"].values == [0.5]
    assert found["cache off to the best peer (fast)"].values == [2.0]
    assert found["cache off to the best peer on our core (fast, our core)"].values == [0.8]
    [p99] = found["p99 of cache off to that of the best peer"].values
    assert p99 == pytest.approx(0.5)
    assert found["cache off to plain FastAPI"].values == [1.25]
    assert found["cache hits in process to the bare endpoint"].values == [0.7]
    assert found["cache hits from Redis to the bare endpoint"].values == [0.4]


def test_what_did_not_start_promises_nothing() -> None:
    loads = loads_of({CACHE_OFF: 100})
    loads.failed[PLAIN_FASTAPI] = "no reason"
    stacks = [stack(CACHE_OFF, OURS, is_rival=False)]

    assert [each.what for each in comparison.promises(stacks, loads, QUICK, [100.0])] == [
        "cache off to our core without HTTP"
    ]


CURVES = {
    f"stack & {number}": [CurvePoint(10.0**power, power + 1.0, power + 2.0) for power in (1, 2)]
    for number in range(len(COLOURS) + 2)
}


def test_the_plot_has_a_line_for_each_stack_in_both_panels_and_in_the_legend() -> None:
    root = ET.fromstring(draw(CURVES))
    texts = [text.text for text in root.iter(f"{SVG}text")]

    assert len(list(root.iter(f"{SVG}polyline"))) == 3 * len(CURVES)
    assert set(CURVES) <= set(texts)
    assert texts.count("requests per second") == 2
    assert {"p50, milliseconds", "p99, milliseconds"} <= set(texts)


def test_no_two_lines_of_the_plot_look_the_same() -> None:
    root = ET.fromstring(draw(CURVES))
    looks = [
        (group.attrib["stroke"], group[0].attrib["stroke-dasharray"])
        for group in root.iter(f"{SVG}g")
    ][-len(CURVES) :]  # the legend

    assert len(set(looks)) == len(CURVES)


def test_everything_that_is_drawn_lies_on_the_plot() -> None:
    root = ET.fromstring(draw(CURVES))
    _, _, width, height = (float(each) for each in root.attrib["viewBox"].split())
    for line in root.iter(f"{SVG}polyline"):
        for point in line.attrib["points"].split():
            x, y = (float(each) for each in point.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


def test_a_load_without_answers_is_left_out_of_the_plot() -> None:
    curves = {"dead": [CurvePoint(0.0, math.nan, math.nan)], "alive": [CurvePoint(9.0, 1.0, 2.0)]}
    texts = [text.text for text in ET.fromstring(draw(curves)).iter(f"{SVG}text")]

    assert "alive" in texts
    assert "dead" not in texts


def test_a_section_of_the_documentation_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "docs.md"
    path.write_text("before\n<!-- x:begin, `made` -->\nold\n<!-- x:end -->\nafter\n")
    table = Table("Title", [{"a": 1}])
    text = to_section([table], ["a note"], machine="M", command="run me", plot="p.svg")
    for _ in range(2):
        write_section(path, "x", text)

    written = path.read_text()
    assert written.startswith("before\n<!-- x:begin, `made` -->\nM; `run me`:")
    assert written.endswith("\n<!-- x:end -->\nafter\n")
    assert "old" not in written
    assert "![Throughput against p50 and p99 of each stack](p.svg)" in written
    assert "Title:\n\n| a |\n| --- |\n| 1 |\n\n- a note\n" in written


@pytest.mark.parametrize("text", ["none", "<!-- x:begin -->", "<!-- x:end --> <!-- x:begin -->"])
def test_a_file_without_its_marks_is_not_written(tmp_path: Path, text: str) -> None:
    path = tmp_path / "docs.md"
    path.write_text(text)
    with pytest.raises(ValueError, match="expected <!-- x:begin"):
        write_section(path, "x", "new")

    assert path.read_text() == text


def test_requests_are_whole_and_say_how_long_they_are() -> None:
    [request] = Plan("h", 1, ['{"ü":1}'], 1.0, 1, headers={"X-Timeout-Ms": "5"}).to_bytes()
    head, _, body = request.partition(b"\r\n\r\n")

    assert head.splitlines()[0] == b"POST /match HTTP/1.1"
    assert b"X-Timeout-Ms: 5" in head.splitlines()
    assert f"Content-Length: {len(body)}".encode() in head.splitlines()
