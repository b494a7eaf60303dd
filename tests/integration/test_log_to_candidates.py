"""The whole line by its commands: a log on disk, candidates over HTTP, a second training live."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.planted import PlantedLog
from tests.services import REPOSITORY, ServiceProcess

LOG = PlantedLog(n_users=200, items_per_category=25)
TRAINING = ["--k", "4", "--dim", "16", "--max-len", "20", "--batch-size", "128"]
SCHEDULE = ["--eval-every", "100", "--max-steps", "200", "--learning-rate", "0.005"]
SWAP_SECONDS = 20


def run(*command: str | Path) -> dict[str, Any]:
    """Run ``python -m`` … with ``--json``; return what it wrote to stdout, which is all JSON."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command), "--json"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def train_and_publish(dataset: Path, folder: Path, registry: Path, seed: int) -> str:
    """Train, build and publish; return the version."""
    run_folder, bundle = folder / f"run{seed}", folder / f"bundle{seed}"
    options = [*TRAINING, *SCHEDULE, "--seed", str(seed)]
    trained = run("model", "train", dataset, "--out", run_folder, *options)
    measured = run("model", "evaluate", run_folder)
    assert measured["metrics"]["recall@20"] == pytest.approx(
        trained["metrics"]["test"]["recall@20"], abs=1e-3
    )
    version: str = run("index", "build", run_folder, "--out", bundle)["version"]
    run("index", "publish", bundle, "--registry", registry)
    return version


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("line")
    interactions, items = LOG.write(folder)
    out = folder / "dataset"
    run("model", "prepare", "--interactions", interactions, "--items", items, "--out", out)
    return out


def test_a_log_becomes_candidates_and_a_second_training_goes_live(
    dataset: Path, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    first = train_and_publish(dataset, tmp_path, registry, seed=0)
    history = [f"i{number}" for number in (*range(6), *range(30, 36))]  # categories 0 and 1

    with ServiceProcess(registry, tmp_path / "log", workers=2) as service:
        body = {"interactions": history, "top_k": 20}
        answer = httpx.post(f"{service.url}/match", json=body).json()
        second = train_and_publish(dataset, tmp_path, registry, seed=1)
        deadline = time.monotonic() + SWAP_SECONDS
        swapped: set[str] = set()
        while time.monotonic() < deadline and swapped != {second}:
            replies = [httpx.post(f"{service.url}/match", json=body) for _ in range(20)]
            assert {reply.status_code for reply in replies} == {200}
            swapped = {reply.json()["bundle_version"] for reply in replies}

    assert answer["bundle_version"] == first
    assert answer["source"] == "model"
    found = [candidate["item_id"] for candidate in answer["candidates"]]
    assert len(set(found)) == 20
    assert not set(found) & set(history)
    liked = [number for number in found if int(number[1:]) < 2 * LOG.items_per_category]
    assert len(liked) >= 16  # by chance 10 of 20
    assert swapped == {second}
