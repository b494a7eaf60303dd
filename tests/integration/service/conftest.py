"""Registries with small bundles, and a real Redis."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from index.registry.registry import Registry
from tests.bundles import build_small_bundle
from tests.redis_server import RedisServer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def bundle_paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two bundles that give different answers."""
    folder = tmp_path_factory.mktemp("bundles")
    return [build_small_bundle(folder, name=f"bundle{seed}", seed=seed) for seed in range(2)]


@pytest.fixture
def registry_path(tmp_path: Path, bundle_paths: list[Path]) -> Path:
    Registry(tmp_path / "registry").publish(bundle_paths[0])
    return tmp_path / "registry"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server
