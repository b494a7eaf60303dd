"""README's table of settings is the one that the program has.

After a change that is meant, write the table again:

    python -m tests.contract.test_readme
"""

import re
from pathlib import Path

from service.settings import Settings

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"(<!-- settings: .* -->\n)(.*?)(<!-- end of settings -->)", re.DOTALL)


def settings_table() -> str:
    """Return the settings as a Markdown table."""
    rows = [
        f"| `OPAL_{name.upper()}` | {_in_words(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
        if field.description
    ]
    return "\n".join(["| variable | default | what |", "|---|---|---|", *rows]) + "\n"


def _in_words(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return str(default) if isinstance(default, str | int | float) else ""


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_table_of_settings_is_current() -> None:
    block = BLOCK.search(README.read_text())

    assert block is not None
    assert block[2] == settings_table(), "python -m tests.contract.test_readme"


if __name__ == "__main__":
    text = BLOCK.sub(lambda block: block[1] + settings_table() + block[3], README.read_text())
    README.write_text(text)
