"""The parts of a report, whatever it is written as."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Value:
    """A field of a table.

    Attributes:
        text: What stands there.
        strong: Whether it stands out.
        is_number: Whether it is one, or several.
    """

    text: str
    strong: bool = False
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What it is.
        caption: Protocol, data, and what is better.
        header: Headings of the columns.
        rows: As long as the header, each.
    """

    title: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Value]]

    @property
    def is_number(self) -> list[bool]:
        """Whether a column holds numbers, for each of them."""
        return [
            any(row[column].is_number for row in self.rows) for column in range(len(self.header))
        ]


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        title: What it is.
        caption: As that of a table.
        svg: The picture, to stand in a page.
    """

    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: Its heading.
        paragraphs: What is said first.
        parts: Then its tables and figures.
    """

    title: str
    paragraphs: Sequence[str] = ()
    parts: Sequence[Table | Figure] = ()


@dataclass(frozen=True)
class Report:
    """The whole.

    Attributes:
        title: Its heading.
        paragraphs: What is said first.
        sections: The rest.
    """

    title: str
    paragraphs: Sequence[str]
    sections: Sequence[Section] = field(default_factory=tuple)
