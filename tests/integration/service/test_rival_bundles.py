"""Every rival behind real HTTP: trained, built, published and served the way OPAL is.

And whatever popularity gives another length, OPAL too.
"""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from index.bundles.build import build_bundle
from index.bundles.bundle import open_bundle
from index.registry.registry import Registry
from index.renewal.renewal import add_items
from model.config.training_config import Recipe, TrainingConfig
from model.data.dataset import prepare
from model.model_names import OPAL, SINGLE_VECTOR_RIVALS, TRAINABLE_MODELS
from model.training.fit import fit
from tests.planted import PlantedLog
from tests.services import ServiceProcess

RIVALS = [name for name in TRAINABLE_MODELS if name != OPAL]
LOG = PlantedLog(n_users=120, items_per_category=30, length=16)
SMALL: dict[str, Any] = {
    "dim": 16,
    "batch_size": 64,
    "max_len": 12,
    "eval_every": 40,
    "max_steps": 40,
    "learning_rate": 0.01,
}
HISTORY = [f"i{number}" for number in (1, 31, 2, 32, 1, 33)]  # categories 0 and 1, i1 twice
POPULARITY = {"popular": {"popularity": 0.3}}
CASES = [
    *((model, recipe) for recipe in ("default", "paper") for model in RIVALS),
    *((model, "popular") for model in (OPAL, "cmi", "sasrec")),
]
N_ITEMS = LOG.n_categories * LOG.items_per_category


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    interactions, items = LOG.write(folder)
    prepare(interactions, folder / "dataset", items=items)
    return folder / "dataset"


def bundle_of(model: str, how: str, dataset: Path, folder: Path) -> Path:
    """Train for a few steps and build."""
    k = {} if model in SINGLE_VECTOR_RIVALS else {"k": 3}
    recipe: Recipe = "paper" if how == "paper" else "default"
    given = {**SMALL, **k, **POPULARITY.get(how, {})}
    config = TrainingConfig.for_recipe(recipe, given, model=model)
    fit(dataset, folder / "run", config, yardsticks=())
    return build_bundle(folder / "run", folder / "bundle").path


@pytest.mark.parametrize(("model", "how"), CASES)
def test_a_bundle_is_served(model: str, how: str, dataset: Path, tmp_path: Path) -> None:
    path = bundle_of(model, how, dataset, tmp_path)
    version = Registry(tmp_path / "registry").publish(path)
    n_interests = 1 if model in SINGLE_VECTOR_RIVALS else 3

    with ServiceProcess(tmp_path / "registry", tmp_path / "log", workers=1) as service:
        ask: dict[str, Any] = {"interactions": HISTORY, "top_k": 20, "explain": True}

        def post(route: str, **body: Any) -> Any:
            reply = httpx.post(f"{service.url}{route}", json=body)
            assert reply.status_code == 200, reply.text
            return reply.json()

        answer = post("/match", **ask)
        by_quota = post("/match", **ask, aggregation="quota")
        diverse = post("/match", **ask, diversity=0.9)
        alone = post("/match/batch", requests=[{"interactions": []}, ask])["results"][1]
        vectors = post("/interests", interactions=HISTORY)["interests"]
        similar = httpx.get(f"{service.url}/items/i1/similar?top_k=10").json()["candidates"]
        listed = httpx.get(f"{service.url}/admin/bundles").json()
        info = f'opal_bundle_info{{index_kind="flat",model="{model}",version="{version}"}}'
        assert service.metric(info) == 1

    bundle = open_bundle(path)
    items, catalog = bundle.encoder.item_vectors, bundle.catalog
    encoded = bundle.encoder.encode(catalog.rows_of(HISTORY))
    scores = (items @ encoded.vectors.T).max(axis=1)
    scores[catalog.rows_of(HISTORY)] = -np.inf
    best = np.argsort(-scores, kind="stable")[:20]
    assert answer["source"] == "model"
    assert answer["bundle_version"] == version
    assert [each["item_id"] for each in answer["candidates"]] == catalog.ids_of(best)
    found = [each["score"] for each in answer["candidates"]]
    np.testing.assert_allclose(found, scores[best], rtol=1e-4, atol=1e-5)
    assert len(answer["interests"]) == n_interests
    assert sum(each["weight"] for each in answer["interests"]) == pytest.approx(1, abs=1e-4)
    assert sum(each["interactions"] for each in answer["interests"]) == len(HISTORY)
    for each in (by_quota, diverse):
        assert len({one["item_id"] for one in each["candidates"]}) == 20
    assert alone["candidates"] == answer["candidates"]
    assert len(vectors) == n_interests
    row = int(catalog.rows_of(["i1"])[0])
    lengths = np.linalg.norm(items, axis=1)
    cosines = items @ items[row] / (lengths * lengths[row])
    nearest = np.argsort(-cosines, kind="stable")
    nearest = nearest[nearest != row][:10]
    np.testing.assert_allclose(
        [each["score"] for each in similar], cosines[nearest], rtol=1e-4, atol=1e-5
    )
    assert [each["model"] for each in listed["bundles"]] == [model]


@pytest.mark.parametrize(("model", "how"), CASES)
def test_a_bundle_takes_new_items_no_longer_than_what_it_was_trained_on(
    model: str, how: str, dataset: Path, tmp_path: Path
) -> None:
    path = bundle_of(model, how, dataset, tmp_path)
    table = tmp_path / "new.csv"
    table.write_text("item_id,similar_to,category\nlike,i1|i2,\nnew,,c0\n")
    renewed = open_bundle(add_items(path, table, tmp_path / "renewed").path)

    items = renewed.encoder.item_vectors
    lengths = np.linalg.norm(items, axis=1)
    like, new = renewed.catalog.rows_of(["like", "new"]).tolist()
    first, second = renewed.catalog.rows_of(["i1", "i2"]).tolist()
    mean = (items[first] + items[second]) / 2
    assert lengths[like] == pytest.approx(np.linalg.norm(mean), abs=1e-5)
    if renewed.encoder.hyper_categories is None:  # nothing draws it from where it is
        np.testing.assert_allclose(items[like], mean, atol=1e-6)
    assert 0 < lengths[new] <= lengths[: min(like, new)].max() * (1 + 1e-6)
