from pathlib import Path

import pytest

from index.bundles.bundle import Bundle, open_bundle
from tests.bundles import build_small_bundle


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that tests read but never change."""
    return build_small_bundle(tmp_path_factory.mktemp("bundle"), stage="hard")


@pytest.fixture(scope="session")
def bundle(bundle_path: Path) -> Bundle:
    return open_bundle(bundle_path)
