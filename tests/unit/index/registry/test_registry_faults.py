"""Publishing with real faults: processes killed at any moment, files that cannot grow."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from index.bundles.bundle import open_bundle
from index.bundles.catalog import LOOKUP_FILE, hash_ids
from index.bundles.manifest import MANIFEST_FILE, read_manifest, write_manifest
from index.registry.registry import Registry
from index.tensor_files import write_tensors
from model.arrays import Floats
from model.errors import BundleError
from model.inference.loading import ENCODER_FILE
from model.run import write_encoder
from tests.bundles import build_small_bundle, hyper_categories_of, item_id, write_run

ROOT = Path(__file__).parents[4]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small bundle, and one large enough to be caught while it is copied."""
    folder = tmp_path_factory.mktemp("bundles")
    old = build_small_bundle(folder, name="old", n_items=50)
    return old, build_small_bundle(folder, name="new", n_items=20_000, dim=64, n_histories=3)


def index_command(
    *arguments: object, file_limit: int = resource.RLIM_INFINITY, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m index`` in a process whose files cannot grow beyond a size in bytes."""
    return subprocess.run(
        [sys.executable, "-m", "index", *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit)),
    )


def test_a_publisher_killed_at_any_moment_leaves_the_registry_whole(
    bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    script = Path(__file__).with_name("publish_and_die.py")
    arguments = [*bundles, tmp_path / "registry", 24]

    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0, "no publisher died in the middle of copying"


@pytest.mark.parametrize(("what", "at_least"), [("publish", 40), ("prune", 30), ("sign", 5)])
def test_killed_at_any_step_the_registry_is_whole_and_the_next_command_goes_through(
    what: str, at_least: int, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    paths = [build_small_bundle(tmp_path, name=f"b{n}", n_items=n, dim=4) for n in range(20, 25)]
    for path in sorted(paths[1:], key=lambda path: read_manifest(path).version):
        registry.publish(path)
    script = Path(__file__).with_name("kill_everywhere.py")

    done = subprocess.run(
        [sys.executable, script, what, str(registry.path), str(paths[0])],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > at_least


@pytest.mark.parametrize("file_limit", [0, 3_000_000])
def test_a_full_disk_leaves_the_registry_as_it_was(
    file_limit: int, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    live = registry.publish(bundles[0])

    done = index_command("publish", bundles[1], "--registry", registry.path, file_limit=file_limit)

    assert done.returncode == 1
    assert done.stderr.startswith("error: File too large: ")
    assert str(registry.path) in done.stderr
    assert "Traceback" not in done.stderr
    assert (registry.current(), registry.versions()) == (live, [live])
    assert not list(registry.path.rglob(".staging-*"))


@pytest.mark.parametrize("file_limit", [0, 1_000, 50_000])
def test_a_full_disk_leaves_no_half_bundle(file_limit: int, tmp_path: Path) -> None:
    run, out = write_run(tmp_path / "run", n_items=900), tmp_path / "out"

    done = index_command("build", run, "--out", out / "bundle", file_limit=file_limit)

    assert done.returncode == 1
    assert str(out) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == []


def test_a_full_disk_leaves_signature_and_bundle_as_they_were(tmp_path: Path) -> None:
    bundle = build_small_bundle(tmp_path, n_items=20)
    (bundle / "manifest.sig").write_text("of another key")
    before = {path: path.read_bytes() for path in bundle.iterdir()}

    done = index_command("sign", bundle, file_limit=0, OPAL_SIGNING_KEY=32 * "k")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: File too large: {bundle / 'manifest.sig'}\n"
    assert {path: path.read_bytes() for path in bundle.iterdir()} == before


def replace_vectors(path: Path, vectors: Floats) -> None:
    """Write the encoder of a bundle again with other item vectors."""
    hyper_categories = hyper_categories_of(open_bundle(path).encoder)
    tensors = {"item_embedding": vectors, "hyper_category": hyper_categories}
    write_encoder(
        path / ENCODER_FILE, tensors, {"stage": "soft", "temperature": 0.1, "max_len": 20}
    )


def with_nan(path: Path) -> None:
    vectors = open_bundle(path).encoder.item_vectors.copy()
    vectors[3, 1] = np.nan
    replace_vectors(path, vectors)


def with_fewer_vectors(path: Path) -> None:
    replace_vectors(path, open_bundle(path).encoder.item_vectors[:-1].copy())


def with_the_same_id_twice(path: Path) -> None:
    items = load_file(path / "items.safetensors")
    items["item_id.values"][9:18] = items["item_id.values"][:9]  # item-0001 becomes item-0000
    save_file(items, path / "items.safetensors")
    ids = [item_id(0), item_id(0), *(item_id(row) for row in range(2, 20))]
    hashes = hash_ids(ids)
    order = np.argsort(hashes, kind="stable")
    write_tensors(path / LOOKUP_FILE, {"hashes": hashes[order], "rows": order.astype(np.int64)})


def with_another_index(path: Path) -> None:
    content = (path / "index.faiss").read_bytes()
    (path / "index.faiss").write_bytes(b"nope" + content[4:])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (with_nan, r"encoder\.safetensors: item vectors are not all finite"),
        (with_fewer_vectors, r"index\.faiss: holds 20 vectors of 16 dimensions, the encoder 19"),
        (with_the_same_id_twice, r"items\.safetensors: item_id 'item-0000' occurs twice"),
        (with_another_index, r"index\.faiss: Faiss cannot read it"),
    ],
)
def test_what_a_broken_builder_wrote_is_refused_and_leaves_no_trace(
    damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "registry")
    live = registry.publish(build_small_bundle(tmp_path, name="live", n_items=20))
    bad = shutil.copytree(tmp_path / "live", tmp_path / "bad")
    damage(bad)
    document = json.loads((bad / MANIFEST_FILE).read_text())
    (bad / MANIFEST_FILE).unlink()
    kept = ("git_revision", "model", "catalog", "index", "metrics", "dataset")
    write_manifest(bad, {name: document[name] for name in kept})

    with pytest.raises(BundleError, match=message) as caught:
        registry.publish(bad)

    assert "\n" not in str(caught.value)
    assert (registry.current(), registry.versions()) == (live, [live])
    assert not list(registry.path.rglob(".staging-*"))


@pytest.mark.parametrize("kind", ["nonsense", "IVF4096,Flat"])
def test_a_factory_string_that_faiss_rejects_is_one_line_and_leaves_nothing(
    kind: str, tmp_path: Path
) -> None:
    run, out = write_run(tmp_path / "run"), tmp_path / "out"

    done = index_command("build", run, "--out", out / "bundle", "--kind", kind)

    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: --kind {kind}: Faiss rejects it" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == []
