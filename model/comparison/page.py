"""A report as one self-contained page."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from model.comparison.document import Report

TEMPLATES = Path(__file__).parent / "templates"


def write_page(report: Report) -> str:
    """Return HTML that loads nothing from elsewhere; all text is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Our own figures; what is text in them is escaped where they are drawn.
    environment.filters["picture"] = Markup
    return environment.get_template("comparison.html.j2").render(report=report)
