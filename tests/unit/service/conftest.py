"""A small registry that all service tests share, and the service on it in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from index.bundles.bundle import Bundle, open_bundle
from index.registry.registry import Registry
from tests.bundles import build_small_bundle
from tests.services import InProcess, service_in_process


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def other_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_small_bundle(tmp_path_factory.mktemp("other"), seed=1)


@pytest.fixture(scope="session")
def bundle(bundle_path: Path) -> Bundle:
    return open_bundle(bundle_path)


@pytest.fixture
def registry_path(tmp_path: Path, bundle_path: Path) -> Path:
    Registry(tmp_path / "registry").publish(bundle_path)
    return tmp_path / "registry"


@pytest.fixture
async def service(registry_path: Path, anyio_backend: str) -> AsyncIterator[InProcess]:
    async with service_in_process(registry_path) as running:
        yield running
