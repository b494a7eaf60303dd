"""What an installed package holds beside its modules."""

import fnmatch
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_file_that_is_no_module_is_installed_too() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["*"]
    files = [
        path.relative_to(ROOT)
        for package in ("service", "index", "model")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    ]

    assert files
    for path in files:
        # Patterns are relative to a package: the folder of the file, or one above it.
        seen_from_packages = [Path(*path.parts[depth:]) for depth in range(1, len(path.parts))]
        assert any(
            fnmatch.fnmatch(str(seen), pattern)
            for seen in seen_from_packages
            for pattern in patterns
        ), f"{path}: add it to tool.setuptools.package-data"


def test_every_folder_with_modules_is_a_package() -> None:
    for package in ("service", "index", "model"):
        for module in (ROOT / package).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), f"{module.parent} has no __init__.py"
