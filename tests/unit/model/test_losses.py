"""Each loss against its equation, written in NumPy as it reads."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.losses import (
    future_item_loss,
    hard_assignment,
    orthogonality_loss,
    score_items,
    score_own_item,
    uniformity_loss,
    unique_loss,
)

Floats = NDArray[np.float64]


def assignments(batch: int, length: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A random soft assignment over histories of different lengths; 0 where padded."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (batch,), generator=random)
    is_item = torch.arange(length) < lengths.unsqueeze(1)
    soft = torch.randn(batch, length, k, generator=random).softmax(-1)
    return soft * is_item.unsqueeze(-1), is_item


def unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


@pytest.mark.parametrize("k", [1, 3])
def test_scores_are_the_best_over_interests(k: int) -> None:
    random = torch.Generator().manual_seed(1)
    interests = unit(torch.randn(5, k, 4, generator=random))
    items = unit(torch.randn(5, 4, generator=random))
    z, e = interests.numpy(), items.numpy()
    every = [
        [max(float(z[b, j] @ e[v]) / 0.2 for j in range(k)) for v in range(5)] for b in range(5)
    ]

    np.testing.assert_allclose(score_items(interests, items, 0.2), every, rtol=1e-5)
    np.testing.assert_allclose(score_own_item(interests, items, 0.2), np.diag(every), rtol=1e-5)


@pytest.mark.parametrize("n_negatives", [1, 6])
def test_future_item_loss_is_its_equation(n_negatives: int) -> None:
    random = np.random.default_rng(2)
    scores = random.normal(size=(8, 1 + n_negatives)) * 5
    is_negative = random.random((8, n_negatives)) < 0.6
    is_negative[0] = False

    expected = 0.0
    for row, counts in zip(scores, is_negative, strict=True):
        total = np.exp(row[0]) + sum(np.exp(s) for s, c in zip(row[1:], counts, strict=True) if c)
        expected += -np.log(np.exp(row[0]) / total) / len(scores)
    loss = future_item_loss(torch.from_numpy(scores), torch.from_numpy(is_negative))
    assert loss.item() == pytest.approx(expected)


def test_future_item_loss_ignores_what_is_no_negative() -> None:
    scores = torch.tensor([[1.0, 50.0]], requires_grad=True)
    loss = future_item_loss(scores, torch.tensor([[False]]))
    (gradient,) = torch.autograd.grad(loss, scores)

    assert loss.item() == 0
    assert gradient.tolist() == [[0, 0]]


def test_future_item_loss_does_not_overflow() -> None:
    loss = future_item_loss(torch.tensor([[-500.0, 500.0]]), torch.tensor([[True]]))

    assert loss.item() == pytest.approx(1000)


def test_future_item_loss_raises_the_positive_and_lowers_the_negatives() -> None:
    scores = torch.zeros(2, 4, requires_grad=True)
    loss = future_item_loss(scores, torch.ones(2, 3, dtype=torch.bool))
    (gradient,) = torch.autograd.grad(loss, scores)

    assert (gradient[:, 0] < 0).all()
    assert (gradient[:, 1:] > 0).all()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_orthogonality_loss_is_its_equation(k: int) -> None:
    table = unit(torch.randn(k, 6, generator=torch.Generator().manual_seed(3)))
    c = table.numpy()

    expected = sum((float(c[i] @ c[j]) - (i == j)) ** 2 for i in range(k) for j in range(k)) / k**2
    assert orthogonality_loss(table).item() == pytest.approx(expected, abs=1e-6)


def test_orthogonality_loss_is_nothing_for_an_orthonormal_table() -> None:
    table = torch.eye(6)[:4].requires_grad_()
    loss = orthogonality_loss(table)
    (gradient,) = torch.autograd.grad(loss, table)

    assert loss.item() == 0
    assert not gradient.any()


def test_orthogonality_loss_is_greatest_where_all_are_the_same() -> None:
    assert orthogonality_loss(torch.eye(3)[[0, 0, 0]]).item() == pytest.approx(6 / 9)


def test_orthogonality_gradient_drives_hyper_categories_apart() -> None:
    table = unit(torch.tensor([[1.0, 0.2], [1.0, -0.2]])).requires_grad_()
    (gradient,) = torch.autograd.grad(orthogonality_loss(table), table)
    moved = unit(table.detach() - 0.1 * gradient)

    assert (moved[0] @ moved[1]).item() < (table[0] @ table[1]).item()


@pytest.mark.parametrize("k", [1, 2, 4])
def test_uniformity_loss_is_its_equation(k: int) -> None:
    assignment, is_item = assignments(6, 5, k)
    a, valid = assignment.numpy().astype(float), is_item.numpy()

    p = np.array([a[..., j][valid].mean() for j in range(k)])
    assert uniformity_loss(assignment, is_item).item() == pytest.approx(
        p.std() / p.mean(), abs=1e-6
    )


def test_uniformity_loss_does_not_see_padding() -> None:
    assignment, is_item = assignments(6, 5, 3)
    padded = torch.cat((assignment, torch.zeros(6, 7, 3)), dim=1)
    mask = torch.cat((is_item, torch.zeros(6, 7, dtype=torch.bool)), dim=1)

    assert uniformity_loss(padded, mask).item() == pytest.approx(
        uniformity_loss(assignment, is_item).item()
    )


def test_uniformity_loss_is_nothing_where_all_are_in_equal_use() -> None:
    one_each = torch.eye(4).unsqueeze(0)

    assert uniformity_loss(one_each, torch.ones(1, 4, dtype=torch.bool)).item() == 0


def test_uniformity_loss_is_greatest_where_one_takes_all() -> None:
    collapsed = torch.zeros(2, 3, 4)
    collapsed[..., 1] = 1

    loss = uniformity_loss(collapsed, torch.ones(2, 3, dtype=torch.bool))
    assert loss.item() == pytest.approx(np.sqrt(3))  # √(k − 1)


def test_hard_assignment_keeps_the_strongest_alone() -> None:
    assignment, is_item = assignments(4, 5, 3)
    hard = hard_assignment(assignment)

    expected = np.zeros((4, 5, 3), dtype=np.float32)
    for b, t in zip(*np.nonzero(is_item.numpy()), strict=True):
        j = int(assignment[b, t].argmax())
        expected[b, t, j] = assignment[b, t, j]
    np.testing.assert_array_equal(hard.numpy(), expected)


@pytest.mark.parametrize("k", [1, 4])
def test_unique_loss_is_its_equation(k: int) -> None:
    assignment, is_item = assignments(6, 5, k)
    a = assignment.numpy().astype(float)

    cross_entropies = [-np.log(a[b, t].max()) for b, t in np.argwhere(is_item.numpy())]
    assert unique_loss(assignment, is_item).item() == pytest.approx(
        np.mean(cross_entropies), abs=1e-6
    )


def test_unique_loss_has_finite_gradients_beside_padding() -> None:
    logits = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(5)).requires_grad_()
    is_item = torch.tensor([[True, True, False], [True, False, False]])
    loss = unique_loss(logits.softmax(-1) * is_item.unsqueeze(-1), is_item)
    (gradient,) = torch.autograd.grad(loss, logits)

    assert torch.isfinite(gradient).all()
    assert not gradient[~is_item].any()
    assert (gradient.gather(-1, logits.argmax(-1, keepdim=True))[is_item] < 0).all()
