import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from index.bundles.build import build_bundle
from index.bundles.manifest import read_manifest
from tests.bundles import write_rival_run, write_run


class Outline(HTMLParser):
    """Collects tags and attributes, and checks that what opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def report(tmp_path: Path) -> str:
    return (build_bundle(tmp_path / "run", tmp_path / "bundle").path / "report.html").read_text()


def test_a_report_tells_what_the_bundle_is(tmp_path: Path) -> None:
    write_run(tmp_path / "run")

    html = report(tmp_path)

    for text in (
        "opal, soft stage",
        "planted.csv",
        '<td class="number">12</td>',
        "recall@50",
        "0.3000",
        "0.8000",
        "Title 0",
        " %</td>",
    ):
        assert text in html
    assert html.count("<polyline") == 2  # loss and valid_recall@50
    assert html.count('<th scope="row">') >= 4
    assert "<code>temperature</code>" in html
    assert "object at 0x" not in html


def test_a_report_is_whole_html_that_loads_nothing(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    outline = Outline()

    html = report(tmp_path)
    outline.feed(html)

    assert outline.open == []
    assert not {"script", "link", "img", "iframe"} & set(outline.tags)
    assert not any(name in {"src", "href"} for name, _ in outline.attributes)
    assert "url(" not in html
    assert ("lang", "en") in outline.attributes
    assert html.count("<caption>") == html.count("<table")
    assert html.count('role="img"') == html.count("aria-label=") == 2


def test_titles_are_escaped_and_missing_ones_replaced_by_ids(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", n_items=12)
    items = pl.read_parquet(run / "items.parquet")
    titles = ["<script>alert(1)</script>"] * 6 + [None] * 6
    items.with_columns(title=pl.Series(titles, dtype=pl.String)).write_parquet(
        run / "items.parquet"
    )

    html = report(tmp_path)

    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert re.search(r"item-00(0[6-9]|1[01])", html)


def test_a_run_without_curve_metrics_and_interactions_has_a_report(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    manifest = json.loads((run / "run.json").read_text())
    del manifest["curve"]
    manifest["dataset"] = {"name": "my log"}
    manifest["metrics"] = {"valid": {"recall@10": 0.5}}
    (run / "run.json").write_text(json.dumps(manifest))
    items = pl.read_parquet(run / "items.parquet")
    items.with_columns(interactions=pl.lit(0, pl.Int64)).write_parquet(run / "items.parquet")

    html = report(tmp_path)

    assert "no training curve" in html
    assert "on my log</title>" in html
    assert "0.5000" in html
    assert "0.0 %" in html


def test_without_any_metrics_the_report_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    manifest = json.loads((run / "run.json").read_text())
    manifest["metrics"] = {}
    (run / "run.json").write_text(json.dumps(manifest))

    assert "The run holds none." in report(tmp_path)


def test_yardsticks_stand_beside_the_model(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    manifest = json.loads((run / "run.json").read_text())
    manifest["yardsticks"] = {
        "pop": {"valid": {"recall@10": 0.0125}, "test": {"recall@10": 0.0225, "users": 7}},
        "<b>knn": {"valid": {}, "test": {"recall@10": 0.0325}},
    }
    manifest["yardsticks_left_out"] = {"ease": "9 items & more do not fit"}
    (run / "run.json").write_text(json.dumps(manifest))

    html = report(tmp_path)
    row = html.partition('<th scope="row">recall@10</th>')[2].partition("</tr>")[0]

    assert re.findall(r">([^<>\s]+)</td>", row) == [
        *("0.1000", "0.1000"),  # opal
        *("0.0125", "0.0225"),
        *("–", "0.0325"),
    ]
    assert re.findall(r'scope="colgroup"[^>]*>([^<]+)<', html) == ["opal", "pop", "&lt;b&gt;knn"]
    assert html.count(">validation</th>") == 3
    assert "Not measured: ease (9 items &amp; more do not fit)." in html


@pytest.mark.parametrize("fit_on", ["train", "all"])
def test_a_model_trained_anew_on_everything_is_not_praised_with_others_figures(
    tmp_path: Path, fit_on: str
) -> None:
    run = write_run(tmp_path / "run")
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "fit_on": fit_on}))

    said = "These are figures of the model before its last training" in report(tmp_path)

    assert said == (fit_on == "all")
    assert read_manifest(tmp_path / "bundle").model.fit_on == fit_on


def test_without_yardsticks_the_report_speaks_of_none(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    html = report(tmp_path)

    assert html.count('scope="colgroup"') == 1
    assert "yardsticks" not in html


def test_a_rivals_report_says_nothing_of_hyper_categories(tmp_path: Path) -> None:
    write_rival_run(tmp_path / "run", k=3)
    html = report(tmp_path)
    outline = Outline()
    outline.feed(html)

    assert "comirec-sa, main stage" in html
    assert "3 interests" in html
    assert "yper-categor" not in html
    assert outline.open == []
