"""What an installed package holds beside its modules."""

import fnmatch
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_file_that_is_no_module_is_installed_too() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["*"]
    files = [
        path
        for package in ("service", "index", "model")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    ]

    assert files
    for path in files:
        assert any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns), (
            f"{path.relative_to(ROOT)}: add it to tool.setuptools.package-data"
        )
