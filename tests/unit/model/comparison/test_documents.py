"""The same report as a page and as Markdown; nothing from data is taken for markup."""

from html.parser import HTMLParser

import pytest

from model.comparison.document import Figure, Report, Section, Table, Value
from model.comparison.markdown import write_markdown
from model.comparison.page import write_page

NASTY = "<script>alert(1)</script> a|b **c** [d](e) `f`\n# g"


class Texts(HTMLParser):
    """All text of a page, and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture
def report() -> Report:
    table = Table(
        NASTY,
        NASTY,
        ["model", NASTY],
        [
            [Value(NASTY), Value("0.5 ± 0.1", strong=True, is_number=True)],
            [Value("pop"), Value("–", is_number=True)],
        ],
    )
    figure = Figure("a figure", NASTY, "<svg><text>in it</text></svg>")
    return Report(NASTY, [NASTY], [Section(NASTY, [NASTY], [table, figure])])


def test_the_page_holds_all_and_escapes_it(report: Report) -> None:
    page = Texts(write_page(report))

    assert "script" not in {tag for tag, _ in page.elements}
    text = "".join(page.texts)
    assert text.count("alert(1)") == 11  # twice in title and contents
    assert "in it" in text
    assert "0.5 ± 0.1" in text


def test_the_page_loads_nothing(report: Report) -> None:
    page = Texts(write_page(report))

    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "img"}
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")


def test_markdown_holds_all_and_escapes_it(report: Report) -> None:
    text = write_markdown(report, "report.html")

    assert "<script>" not in text
    lines = text.splitlines()
    table = [line for line in lines if line.startswith("|")]
    escaped = r"\<script\>alert(1)\</script\> a\|b \*\*c\*\* \[d\](e) \`f\` \# g"
    assert table == [
        f"| model | {escaped} |",
        "| --- | ---: |",
        f"| {escaped} | **0.5 ± 0.1** |",
        "| pop | – |",
    ]
    assert "### a figure" in lines
    assert "(Figure in report.html.)" in text
    assert [line for line in lines if line.startswith("# ")] == [f"# {escaped}"]
