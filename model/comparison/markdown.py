"""A report as Markdown: all of it but the figures, which it names."""

import re
from collections.abc import Iterator

from model.comparison.document import Figure, Report, Table, Value


def write_markdown(report: Report, page: str) -> str:
    """Return the report.

    Args:
        report: What to write.
        page: Name of the file that has the figures.
    """
    return "\n\n".join(_blocks(report, page)) + "\n"


def _blocks(report: Report, page: str) -> Iterator[str]:
    yield f"# {_escape(report.title)}"
    yield from map(_escape, report.paragraphs)
    for section in report.sections:
        yield f"## {_escape(section.title)}"
        yield from map(_escape, section.paragraphs)
        for part in section.parts:
            yield f"### {_escape(part.title)}"
            if isinstance(part, Figure):
                yield f"{_escape(part.caption)} (Figure in {_escape(page)}.)"
            else:
                yield _table(part)
                yield _escape(part.caption)


def _table(table: Table) -> str:
    rule = ["---:" if is_number else "---" for is_number in table.is_number]
    lines = [list(map(_escape, table.header)), rule]
    lines += [[_value(value) for value in row] for row in table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _value(value: Value) -> str:
    text = _escape(value.text)
    return f"**{text}**" if value.strong else text


def _escape(text: str) -> str:
    """Keep what comes from data from being taken for Markdown or HTML."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", one_line)
