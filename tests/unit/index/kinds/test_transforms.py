"""Transforms within an index: taken where scores stay inner products, refused where not."""

from pathlib import Path

import numpy as np
import pytest

from index.__main__ import main
from index.kinds.faiss_files import build_faiss_index
from model.arrays import Floats
from model.errors import InputError
from tests.bundles import write_run

DIM = 16


def of_different_lengths(n: int, seed: int) -> Floats:
    """Vectors that do not lie around 0. Shape (n, DIM), float32."""
    rng = np.random.default_rng(seed)
    vectors = 0.5 + rng.normal(size=(n, DIM))
    return (vectors * rng.uniform(0.3, 1, size=(n, 1))).astype(np.float32)


@pytest.mark.parametrize(
    "kind",
    [
        "OPQ4,Flat",
        "OPQ4_32,Flat",
        "RR16,Flat",
        "RR32,Flat",
        "HR,Flat",
        "Pad24,Flat",
        "RR16,IVF4,Flat",
        "IVF4(L2norm,Flat),Flat",  # chooses lists only
        "L2norm,Flat,Refine(RR16,Flat)",  # chooses what is scored only
    ],
)
def test_what_is_taken_scores_by_inner_product(kind: str) -> None:
    items, queries = of_different_lengths(400, 0), of_different_lengths(20, 1)

    found = build_faiss_index(items, kind=kind).search(queries, 10)

    expected = np.take_along_axis(queries @ items.T, found.rows, axis=1)
    np.testing.assert_allclose(found.scores, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("L2norm,Flat", "NormalizationTransform changes inner products"),
        ("L2norm,IVF4,Flat", "NormalizationTransform changes inner products"),
        ("RR16,L2norm,Flat", "NormalizationTransform changes inner products"),
        ("PCA16,Flat", "PCAMatrix changes inner products"),
        ("PCA8,Flat", "PCAMatrix changes inner products"),
        ("PCAW16,Flat", "PCAMatrix changes inner products"),
        ("PCAR16,Flat", "PCAMatrix changes inner products"),
        ("ITQ16,Flat", "ITQTransform changes inner products"),
        ("OPQ4_8,Flat", "OPQMatrix goes from 16 to 8 dimensions"),
        ("RR8,Flat", "RandomRotationMatrix goes from 16 to 8 dimensions"),
        ("IVF4,Flat,Refine(L2norm,Flat)", "NormalizationTransform changes inner products"),
    ],
)
def test_what_changes_inner_products_is_refused(kind: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        build_faiss_index(of_different_lengths(400, 0), kind=kind)

    assert f"--kind {kind}: its {reason}" in str(caught.value)
    assert "OPQ or RR to at least 16 dimensions" in str(caught.value)


def test_the_command_refuses_it_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    command = ["build", str(run), "--out", str(tmp_path / "bundle"), "--recall", "0.1"]

    assert main([*command, "--kind", "L2norm,Flat"]) == 1

    assert "error: --kind L2norm,Flat: its NormalizationTransform" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
