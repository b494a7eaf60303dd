"""The virtual environment of the peers: made and filled by the benchmark, outside the project's.

Their pins are here and not in ``pyproject.toml``, because nothing but the benchmark needs them.
What the project itself needs is pinned there, and read from there: both sides compute with the
same NumPy, torch and Faiss.
"""

import hashlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.services import REPOSITORY

PINS = (
    "bentoml==1.4.39",
    "granian==2.8.7",
    "litserve==0.2.19",
    "mosec==0.9.8",
    "msgspec==0.22.0",
    "ray[serve]==2.60.0",
)
DEFAULT_FOLDER = Path("~/.cache/opal-match/bench-peers")
TORCH_VARIABLE = "TORCH_INDEX_URL"
_MARK = "installed"


class CannotInstallError(Exception):
    """A package cannot be installed; tells what pip said."""


def prepare(folder: Path) -> dict[str, str]:
    """Make the environment, or find it as it is wanted.

    Args:
        folder: Where it is or goes.

    Returns:
        The requirements that could not be installed, and why.

    Raises:
        CannotInstallError: Not even what the project itself needs.
    """
    mark = folder / _MARK
    digest = hashlib.sha256(repr((PINS, project_pins())).encode()).hexdigest()
    if mark.exists() and mark.read_text() == digest:
        return {}
    # What is there for other pins stays: pip changes what differs.
    if problem := _run([sys.executable, "-m", "venv", str(folder)]) or _install_torch(folder):
        raise CannotInstallError(problem)
    if _install(folder, [*project_pins(), *PINS]) is None:
        mark.write_text(digest)
        return {}
    # Together they cannot: find out which of them is to blame.
    problem = _install(folder, project_pins())
    if problem is not None:
        raise CannotInstallError(problem)
    problems = {pin: _install(folder, [*project_pins(), pin]) for pin in PINS}
    return {pin: problem for pin, problem in problems.items() if problem is not None}


def program(folder: Path, name: str) -> str:
    """Return the path of a program of the environment."""
    return str(folder / "bin" / name)


def project_pins() -> list[str]:
    """Return what the project and its training part require."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    required: list[str] = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    return required


def _install_torch(folder: Path) -> str | None:
    """Install torch from an index with CPU builds, where one is named as for ``make setup``."""
    url = os.environ.get(TORCH_VARIABLE)
    torch = [pin for pin in project_pins() if pin.startswith("torch=")]
    return _install(folder, ["--index-url", url, *torch]) if url else None


def _install(folder: Path, requirements: list[str]) -> str | None:
    """Install together; return None, or the last of what pip said."""
    pip = [program(folder, "python"), "-m", "pip", "--disable-pip-version-check"]
    return _run([*pip, "install", "--quiet", *requirements])


def _run(command: list[str]) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    lines = done.stderr.splitlines()
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [f"{command[0]} failed"])[-1][:200]
