"""Small runs and bundles with a known structure, made in milliseconds, without torch.

``write_run`` writes what ``model train`` leaves behind; ``build_small_bundle`` puts it through the
real ``index.bundles.build``. Item ids are ``item-0000``…, titles ``Title 0000``…; the item vectors
lie in clusters around the k hyper-categories, as learned ones do; item r has category
``genre-<cluster>`` and every seventh one ``evergreen`` too.
"""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from model.inference.encoder import UserEncoder
from model.inference.lengths import with_lengths
from model.inference.loading import load_encoder
from model.inference.opal import OpalInferenceEncoder
from model.run import write_encoder
from model.tensor_files import map_tensors
from model.training.popularity import popularity_lengths

Stage = Literal["soft", "hard"]
Floats = NDArray[np.float32]


def item_id(row: int) -> str:
    """The id that ``write_run`` gives to an item row."""
    return f"item-{row:04d}"


def unit_rows(vectors: NDArray[np.floating[Any]]) -> Floats:
    """Scale every row to unit length. Shape kept, float32."""
    unit: Floats = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def clustered_vectors(
    n_items: int, dim: int, k: int, rng: np.random.Generator
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Item vectors (n_items, dim), hyper-categories (k, dim), cluster of every item (n_items,)."""
    hyper_categories = np.linalg.qr(rng.normal(size=(dim, k)))[0].T.astype(np.float32)
    cluster = np.arange(n_items) % k
    noise = rng.normal(size=(n_items, dim)) * 0.6 / np.sqrt(dim)
    return unit_rows(hyper_categories[cluster] + noise), hyper_categories, cluster


def load_opal(path: Path) -> OpalInferenceEncoder:
    """Load ``encoder.safetensors`` that holds OPAL."""
    encoder = load_encoder(path)
    assert isinstance(encoder, OpalInferenceEncoder)
    return encoder


def hyper_categories_of(encoder: UserEncoder) -> Floats:
    """The hyper-categories of OPAL. Shape (k, d)."""
    assert isinstance(encoder, OpalInferenceEncoder)
    return encoder.hyper_categories


def write_run(
    path: Path,
    *,
    n_items: int = 300,
    k: int = 4,
    dim: int = 16,
    seed: int = 0,
    stage: Stage = "soft",
    max_len: int = 20,
    n_histories: int = 40,
) -> Path:
    """Write a run folder as ``model train`` does, with random but structured contents.

    Returns:
        ``path``.
    """
    rng = np.random.default_rng(seed)
    vectors, hyper_categories, cluster = clustered_vectors(n_items, dim, k, rng)
    path.mkdir(parents=True)
    write_random_encoder(path, vectors, hyper_categories, stage=stage, max_len=max_len, rng=rng)
    _items(n_items, cluster, rng).write_parquet(path / "items.parquet")
    histories = [_history(cluster, k, max_len, rng) for _ in range(n_histories)]
    pl.DataFrame({"history": histories}, schema={"history": pl.List(pl.Int32)}).write_parquet(
        path / "histories.parquet"
    )
    manifest = _manifest(n_items, k=k, dim=dim, max_len=max_len, stage=stage)
    (path / "run.json").write_text(json.dumps(manifest))
    return path


def write_rival_run(
    path: Path, *, unit_vectors: bool = False, k: int = 4, seed: int = 0, **options: Any
) -> Path:
    """Write a run of ComiRec-SA with random weights; else as ``write_run``.

    Args:
        path: The run's folder.
        unit_vectors: Else item vectors are 0.5 to 3 long.
        k: Interests.
        seed: Of what is random.
        options: What ``write_run`` takes.

    Returns:
        ``path``.
    """
    write_run(path, k=k, seed=seed, **options)
    rng = np.random.default_rng(seed)
    opal = load_opal(path / "encoder.safetensors")
    lengths = 1.0 if unit_vectors else rng.uniform(0.5, 3, size=(len(opal.item_vectors), 1))
    dim, hidden = opal.dim, 8
    shapes = {
        "attention.hidden.weight": (hidden, dim),
        "attention.hidden.bias": (hidden,),
        "attention.heads.weight": (k, hidden),
        "attention.positions": (opal.max_len, dim),
    }
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tensors["item_embedding"] = (opal.item_vectors * lengths).astype(np.float32)
    settings = {"model": "comirec-sa", "unit_vectors": unit_vectors, "max_len": opal.max_len}
    write_encoder(path / "encoder.safetensors", tensors, settings)
    manifest = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**manifest, "model": "comirec-sa", "stage": "main"}))
    return path


def write_popular_run(path: Path, **options: Any) -> Path:
    """Write a run of OPAL whose item vectors are as long as popularity makes them.

    Args:
        path: The run's folder.
        options: What ``write_run`` takes.

    Returns:
        ``path``.
    """
    write_run(path, **options)
    tensors, metadata = map_tensors(path / "encoder.safetensors")
    interactions = pl.read_parquet(path / "items.parquet")["interactions"].to_numpy()
    lengths = popularity_lengths(interactions, 0.3)
    changed = with_lengths(dict(tensors), json.loads(metadata["encoder"]), lengths)
    write_encoder(path / "encoder.safetensors", *changed)
    return path


def write_random_encoder(
    run: Path,
    vectors: Floats,
    hyper_categories: Floats,
    *,
    stage: str,
    max_len: int,
    rng: np.random.Generator,
    **terms: float,
) -> None:
    """Write ``encoder.safetensors`` into a run folder.

    ``terms`` are those that ``model.run.write_encoder`` takes besides the paper's, and
    ``attention``: of how many ages the general interest's knows.
    """
    dim = vectors.shape[1]
    tensors = {"item_embedding": vectors, "hyper_category": hyper_categories}
    config: dict[str, Any] = {
        "stage": stage,
        "temperature": 0.1,
        "max_len": max_len,
        **terms,
    }
    shapes: dict[str, tuple[int, ...]] = {}
    if stage == "hard" or "general" in terms:
        shapes |= {"gru.weight_ih": (3 * dim, dim), "gru.weight_hh": (3 * dim, dim)}
    for head in ["head"] * (stage == "hard") + ["general"] * ("general" in terms):
        shapes |= {f"{head}.weight": (dim, dim), f"{head}.bias": (dim,)}
    for name, shape in shapes.items():
        tensors[name] = (rng.normal(size=shape) / np.sqrt(dim)).astype(np.float32)
    if positions := int(config.pop("attention", 0)):
        tensors |= random_transformer(dim, positions, n_blocks=1, rng=rng)
        config["model"] = "opal-attention"
    write_encoder(run / "encoder.safetensors", tensors, config)


def random_transformer(
    dim: int, positions: int, *, n_blocks: int, rng: np.random.Generator
) -> dict[str, Floats]:
    """Return what ``model.inference.transformer`` reads, with random weights."""
    shapes: dict[str, tuple[int, ...]] = {"positions": (positions, dim), "norm.weight": (dim,)}
    shapes["norm.bias"] = (dim,)
    for block in (f"blocks.{number}" for number in range(n_blocks)):
        shapes[f"{block}.query_key_value.weight"] = (3 * dim, dim)
        for layer in ("network_in", "network_out"):
            shapes |= {f"{block}.{layer}.weight": (dim, dim), f"{block}.{layer}.bias": (dim,)}
        for norm in ("attention_norm", "network_norm"):
            shapes |= {f"{block}.{norm}.weight": (dim,), f"{block}.{norm}.bias": (dim,)}
    return {
        f"transformer.{name}": (rng.normal(size=shape) / np.sqrt(dim)).astype(np.float32)
        for name, shape in shapes.items()
    }


def build_small_bundle(folder: Path, *, name: str = "bundle", **run_options: Any) -> Path:
    """Write a run into ``folder`` and build a bundle from it.

    Args:
        folder: Where run and bundle go.
        name: Folder name of the bundle; the run is ``<name>-run``.
        run_options: What ``write_run`` takes.

    Returns:
        The bundle's folder.
    """
    from index.bundles.build import build_bundle

    run = write_run(folder / f"{name}-run", **run_options)
    return build_bundle(run, folder / name).path


def _items(n_items: int, cluster: NDArray[np.int64], rng: np.random.Generator) -> pl.DataFrame:
    categories = [
        [f"genre-{cluster[row]}", *(["evergreen"] if row % 7 == 0 else [])]
        for row in range(n_items)
    ]
    return pl.DataFrame(
        {
            "item_id": [item_id(row) for row in range(n_items)],
            "title": [f"Title {row:04d}" for row in range(n_items)],
            "category": categories,
            "url": [None] * n_items,
            "interactions": rng.integers(0, 500, size=n_items),
        },
        schema={
            "item_id": pl.String,
            "title": pl.String,
            "category": pl.List(pl.String),
            "url": pl.String,
            "interactions": pl.Int64,
        },
    )


def _history(
    cluster: NDArray[np.int64], k: int, max_len: int, rng: np.random.Generator
) -> list[int]:
    """A user with two interests and a few items of anything."""
    liked = rng.choice(k, size=min(2, k), replace=False)
    chosen = np.flatnonzero(np.isin(cluster, liked))
    length = min(int(rng.integers(3, max_len + 1)), len(chosen))
    return [int(row) for row in rng.permutation(chosen)[:length]]


def _manifest(n_items: int, *, k: int, dim: int, max_len: int, stage: Stage) -> dict[str, Any]:
    metrics = {
        part: {"recall@10": 0.1, "recall@50": 0.3, "hitrate@50": 0.8, "ndcg@50": 0.2, "users": 12}
        for part in ("valid", "test")
    }
    return {
        "format_version": 1,
        "model": "opal",
        "created": "2026-01-02T03:04:05+00:00",
        "git_revision": None,
        "stage": stage,
        "hyper_parameters": {"k": k, "dim": dim, "max_len": max_len, "temperature": 0.1},
        "dataset": {
            "path": "planted",
            "source": "planted.csv",
            "split": "user",
            "users": 100,
            "items": n_items,
            "interactions": 5000,
        },
        "metrics": metrics,
        "stages": {"soft": {"steps": 200, "metrics": metrics}},
        "curve": [
            {"stage": "soft", "step": 100, "loss": 3.0, "valid_recall@50": 0.2},
            {"stage": "soft", "step": 200, "loss": 2.5, "valid_recall@50": 0.3},
        ],
    }
