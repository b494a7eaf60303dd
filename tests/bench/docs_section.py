"""Writes what was measured into a Markdown file, between two marks, and nowhere else."""

from pathlib import Path

from tests.bench.measuring import Table, to_markdown


def write_section(path: Path, name: str, text: str) -> None:
    """Replace what lies between ``<!-- name:begin … -->`` and ``<!-- name:end -->``.

    Args:
        path: The Markdown file.
        name: Of the marks.
        text: What is to lie there.

    Raises:
        ValueError: The marks are not there, once and in this order.
    """
    before, begin, rest = path.read_text().partition(f"<!-- {name}:begin")
    mark, closes, inside = rest.partition("-->")
    _, end, after = inside.partition(f"<!-- {name}:end -->")
    if not (begin and closes and end) or begin in after:
        raise ValueError(f"{path}: expected <!-- {name}:begin --> and <!-- {name}:end --> once")
    path.write_text(f"{before}{begin}{mark}{closes}\n{text.strip()}\n{end}{after}")


def to_section(
    tables: list[Table], notes: list[str], *, machine: str, command: str, plot: str
) -> str:
    """Lay a benchmark's result out for the documentation.

    Args:
        tables: What was measured.
        notes: What was not, and why.
        machine: In one line.
        command: What was typed.
        plot: Path of the plot, from the Markdown file; empty for none.
    """
    parts = [f"{machine}; `{command}`:"]
    if plot:
        parts.append(f"![Throughput against p50 and p99 of each stack]({plot})")
    for table in tables:
        parts += [f"{table.title}:", to_markdown(table.rows)]
    parts += [f"- {note}" for note in notes]
    return "\n\n".join(parts)
