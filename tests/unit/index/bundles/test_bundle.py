import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from index.bundles.bundle import REQUIRED_FILES, Bundle, open_bundle
from index.bundles.catalog import POPULAR_FILE
from index.bundles.manifest import MANIFEST_FILE, read_manifest, write_manifest
from index.bundles.probes import PROBE_FILE, make_probes, open_probes, write_probes
from index.kinds.faiss_files import build_faiss_index
from index.search.retrieval import retrieve
from model.errors import BundleError
from tests.bundles import hyper_categories_of, item_id, unit_rows

GOLDEN = Path(__file__).parents[3] / "data" / "bundles"


@pytest.fixture
def copy(bundle_path: Path, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return shutil.copytree(bundle_path, tmp_path / "copy")


def sign_again(path: Path) -> None:
    """Write the manifest anew, as if the files had been built like this."""
    document = json.loads((path / MANIFEST_FILE).read_text())
    (path / MANIFEST_FILE).unlink()
    kept = ("git_revision", "model", "catalog", "index", "metrics", "dataset")
    write_manifest(path, {name: document[name] for name in kept})


def test_an_opened_bundle_answers(bundle: Bundle) -> None:
    history = bundle.catalog.rows_of([item_id(3), item_id(8)])

    found = retrieve(bundle.item_index, bundle.encoder.encode(history).vectors, 5, excluded=history)

    assert len(bundle.catalog.titles_of(found.rows)) == 5
    assert bundle.version == bundle.manifest.version
    assert repr(bundle) == f"<Bundle {bundle.version}, 300 items, flat>"


def test_whoever_opens_a_bundle_may_rest_after_every_file_and_every_probe(
    bundle_path: Path,
) -> None:
    rests: list[None] = []

    bundle = open_bundle(bundle_path, rest=lambda: rests.append(None))

    assert len(rests) > len(bundle.manifest.files) + len(open_probes(bundle_path).lengths)


@pytest.mark.parametrize("name", [*REQUIRED_FILES, "index.faiss", MANIFEST_FILE])
def test_one_flipped_bit_is_refused_by_name(name: str, copy: Path) -> None:
    content = bytearray((copy / name).read_bytes())
    for position in (0, len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[position] ^= 1
        (copy / name).write_bytes(damaged)

        with pytest.raises(BundleError, match=name):
            open_bundle(copy)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("name", [*REQUIRED_FILES, "index.faiss", MANIFEST_FILE])
def test_truncated_and_missing_files_are_refused_by_name(
    name: str, check: bool, copy: Path
) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:-1])
    with pytest.raises(BundleError, match=name):
        open_bundle(copy, check=check)

    (copy / name).unlink()
    with pytest.raises(BundleError, match=name):
        open_bundle(copy, check=check)


def test_a_manifest_that_does_not_list_a_file_is_refused(copy: Path) -> None:
    (copy / POPULAR_FILE).unlink()
    sign_again(copy)

    with pytest.raises(BundleError, match=r"does not list popular\.npy"):
        open_bundle(copy)


def test_another_index_is_found_out_by_the_probes(copy: Path) -> None:
    other = unit_rows(np.random.default_rng(9).normal(size=(300, 16)))
    build_faiss_index(other).save(copy / "index.faiss")
    sign_again(copy)

    with pytest.raises(BundleError, match=r"finds 0\.\d+ of the exact answers"):
        open_bundle(copy)
    assert open_bundle(copy, check=False).version


def test_another_encoder_is_found_out_by_the_probes(bundle: Bundle, copy: Path) -> None:
    tensors = {
        "item_embedding": bundle.encoder.item_vectors,
        "hyper_category": hyper_categories_of(bundle.encoder)[::-1].copy(),
    }
    config = {"stage": "soft", "temperature": 0.1, "max_len": 20}
    save_file(tensors, copy / "encoder.safetensors", metadata={"encoder": json.dumps(config)})
    sign_again(copy)

    with pytest.raises(BundleError, match="interests for probe 0 differ by"):
        open_bundle(copy)


def test_probes_of_another_catalog_are_found_out(bundle: Bundle, copy: Path) -> None:
    probes = make_probes(bundle.encoder, [np.array([1, 2])])
    write_probes(copy, probes._replace(histories=np.array([[1, 300]], dtype=np.int32)))
    sign_again(copy)

    with pytest.raises(BundleError, match="encoder fails on probe 0"):
        open_bundle(copy)


@pytest.mark.parametrize("name", ["encoder.safetensors", PROBE_FILE, "items.safetensors"])
def test_files_that_were_built_wrong_are_named(name: str, copy: Path) -> None:
    save_file({"a": np.zeros(3, dtype=np.float32)}, copy / name)
    sign_again(copy)

    with pytest.raises(BundleError, match=f"{name}|item_id"):
        open_bundle(copy)


def test_parts_that_differ_in_shape_are_refused(bundle: Bundle, copy: Path) -> None:
    document = json.loads((copy / MANIFEST_FILE).read_text())
    document["catalog"]["items"] = 299
    (copy / MANIFEST_FILE).write_text(json.dumps(document, indent=2))
    sign_again(copy)

    with pytest.raises(BundleError, match=r"item vectors have shape \(300, 16\), the manifest"):
        open_bundle(copy, check=False)


def test_vectors_that_are_not_finite_are_refused(bundle: Bundle, copy: Path) -> None:
    vectors = bundle.encoder.item_vectors.copy()
    vectors[7, 0] = np.nan
    tensors = {"item_embedding": vectors, "hyper_category": hyper_categories_of(bundle.encoder)}
    config = {"stage": "soft", "temperature": 0.1, "max_len": 20}
    save_file(tensors, copy / "encoder.safetensors", metadata={"encoder": json.dumps(config)})
    sign_again(copy)

    with pytest.raises(BundleError, match="not all finite"):
        open_bundle(copy, check=False)


def test_a_bundle_without_probes_is_refused(copy: Path) -> None:
    probes = open_probes(copy)
    nothing = {name: array[:0] for name, array in probes._asdict().items()}
    write_probes(copy, probes._replace(**nothing))
    sign_again(copy)

    with pytest.raises(BundleError, match="holds no probe"):
        open_bundle(copy)


@pytest.mark.parametrize(
    "edit",
    [
        {"max_len": "20"},
        {"max_len": 0},
        {"max_len": -1},
        {"max_len": True},
        {"stage": "warm"},
        {"stage": []},
        {"temperature": 0},
        {"temperature": "hot"},
        {"temperature": float("nan")},
    ],
    ids=str,
)
def test_an_encoder_that_cannot_encode_is_refused(
    bundle: Bundle, edit: dict[str, object], copy: Path
) -> None:
    tensors = {
        "item_embedding": bundle.encoder.item_vectors,
        "hyper_category": hyper_categories_of(bundle.encoder),
    }
    config = {"stage": "soft", "temperature": 0.1, "max_len": 20, **edit}
    save_file(tensors, copy / "encoder.safetensors", metadata={"encoder": json.dumps(config)})
    sign_again(copy)

    with pytest.raises(BundleError, match=rf"encoder\.safetensors: .*{next(iter(edit))} is "):
        open_bundle(copy, check=False)


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_old_bundles_still_open(path: Path) -> None:
    bundle = open_bundle(path)

    assert read_manifest(path).format_version == int(path.name.removeprefix("v"))
    assert bundle.catalog.rows_of(["item-0000", "item-0023", "nope"]).tolist() == [0, 23, -1]
