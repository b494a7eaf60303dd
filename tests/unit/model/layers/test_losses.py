"""Each loss against its equation, written in NumPy as it reads."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.negatives import PopularNegatives
from model.layers.losses import (
    best_interest,
    future_item_loss,
    hard_assignment,
    orthogonality_loss,
    score_items,
    score_own_items,
    uniformity_loss,
    unique_loss,
)

Floats = NDArray[np.float64]

NONE = torch.empty(2, 0, dtype=torch.int64)
"""No negative lies in anyone's own future."""


def assignments(n_items: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A random soft assignment of items, and how often each occurs: some never, some often."""
    random = torch.Generator().manual_seed(seed)
    occurrences = torch.randint(4, (n_items,), generator=random).float()
    return torch.randn(n_items, k, generator=random).softmax(-1), occurrences


def by_interaction(assignment: Tensor, occurrences: Tensor) -> Floats:
    """The assignment of each interaction: that of its item."""
    return assignment.repeat_interleave(occurrences.long(), dim=0).double().numpy()


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
    owners = torch.tensor([0, 0, 3, 2, 3])

    own = [every[owner][v] for v, owner in enumerate(owners.tolist())]
    np.testing.assert_allclose(score_items(interests, items, 0.2), every, rtol=1e-5)
    np.testing.assert_allclose(score_own_items(interests, owners, items, 0.2), own, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 3])
def test_the_best_interest_is_amax_with_its_gradient_also_where_interests_tie(k: int) -> None:
    random = torch.Generator().manual_seed(1)
    scores = torch.randint(3, (5, k, 7), generator=random).float().requires_grad_()
    towards = torch.randn(5, 7, generator=random)
    ours, torchs = best_interest(scores), scores.amax(1)

    assert torch.equal(ours, torchs)
    gradients = [torch.autograd.grad(best, scores, towards)[0] for best in (ours, torchs)]
    torch.testing.assert_close(*gradients)


ONE_EACH = [0, 1, 2, 3]
SEVERAL = [0, 1, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("owners", [ONE_EACH, SEVERAL])
@pytest.mark.parametrize("n_negatives", [1, 6])
def test_future_item_loss_is_its_equation(owners: list[int], n_negatives: int) -> None:
    random = np.random.default_rng(2)
    positives = random.normal(size=len(owners)) * 5
    negatives = random.normal(size=(4, n_negatives)) * 5
    in_future = random.random(negatives.shape) < 0.4
    in_future[0] = True

    expected = 0.0
    for user in range(4):
        own = positives[np.array(owners) == user]
        total = np.exp(own).sum() + np.exp(negatives[user][~in_future[user]]).sum()
        expected += -np.log(np.exp(own) / total).mean() / 4
    own_future = np.stack(np.nonzero(in_future))
    for pairs in (own_future, np.tile(own_future, 2)):
        loss = future_item_loss(
            torch.from_numpy(positives),
            torch.tensor(owners),
            torch.from_numpy(negatives),
            torch.from_numpy(pairs),
        )
        assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("owners", [ONE_EACH, SEVERAL])
def test_future_item_loss_has_the_gradient_of_finite_differences(owners: list[int]) -> None:
    random = torch.Generator().manual_seed(2)
    scores = [
        torch.randn(shape, generator=random, dtype=torch.float64).requires_grad_()
        for shape in ((len(owners),), (4, 5))
    ]
    own_future = torch.tensor([[0, 0, 2], [1, 1, 4]])

    assert torch.autograd.gradcheck(
        lambda positives, negatives: future_item_loss(
            positives, torch.tensor(owners), negatives, own_future
        ),
        scores,
    )


def test_with_one_positive_each_future_item_loss_is_cross_entropy() -> None:
    random = torch.Generator().manual_seed(2)
    positives = 5 * torch.randn(6, generator=random)
    negatives = 5 * torch.randn(6, 9, generator=random)
    order = torch.randperm(6, generator=random)
    loss = future_item_loss(positives[order], order, negatives, NONE)

    scores = torch.cat((positives.unsqueeze(1), negatives), dim=1)
    paper = torch.nn.functional.cross_entropy(scores, torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(loss, paper)


def test_weighted_negatives_stand_for_the_whole_catalog() -> None:
    # A weight of w is as good as w negatives with the same score.
    random = torch.Generator().manual_seed(2)
    positives, negatives = torch.randn(2, generator=random), torch.randn(2, 3, generator=random)
    counts = torch.tensor([1, 4, 2])
    owners = torch.tensor([0, 1])

    weighted = future_item_loss(positives, owners, negatives + counts.log(), NONE)
    repeated = future_item_loss(positives, owners, negatives.repeat_interleave(counts, 1), NONE)
    torch.testing.assert_close(weighted, repeated)


@pytest.mark.parametrize("sampler", ["popular", "even"])
def test_the_importance_weighted_softmax_estimates_that_of_the_catalog(sampler: str) -> None:
    """With many draws the loss nears the full softmax; with even ones unweighted, it does not."""
    n_items = 60
    random = np.random.default_rng(0)
    interactions = random.zipf(1.7, size=n_items).clip(max=10**6)
    scores = torch.from_numpy(random.normal(size=n_items) + np.log(interactions) / 3)
    positive, owner = scores[:1], torch.tensor([0])
    whole = future_item_loss(positive, owner, scores[1:].unsqueeze(0), NONE)

    popular = PopularNegatives(interactions, 30)
    totals = []
    for _ in range(4000):
        if sampler == "popular":
            rows, log_weights = popular.draw(random)
        else:
            rows = random.choice(n_items, 30, replace=False)
            log_weights = np.zeros(30, dtype=np.float32)
        assert log_weights is not None
        is_positive = np.flatnonzero(rows == 0)
        own_future = torch.from_numpy(np.stack((np.zeros_like(is_positive), is_positive)))
        negatives = scores[torch.from_numpy(rows)] + torch.from_numpy(log_weights)
        loss = future_item_loss(positive, owner, negatives.unsqueeze(0), own_future)
        totals.append(float((loss + positive).exp()))  # the denominator, which is what is estimated

    expected = float((whole + positive).exp())
    standard_error = np.std(totals) / np.sqrt(len(totals))
    assert (abs(np.mean(totals) - expected) < 4 * standard_error) == (sampler == "popular")


def test_future_item_loss_ignores_what_is_no_negative() -> None:
    positive = torch.tensor([1.0], requires_grad=True)
    negative = torch.tensor([[50.0]], requires_grad=True)
    loss = future_item_loss(positive, torch.tensor([0]), negative, torch.tensor([[0], [0]]))
    gradients = torch.autograd.grad(loss, [positive, negative])

    assert loss.item() == 0
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize(("positive", "negative", "expected"), [(-500, 500, 1000), (500, -500, 0)])
def test_future_item_loss_does_not_overflow(
    positive: float, negative: float, expected: float
) -> None:
    loss = future_item_loss(
        torch.tensor([float(positive)]),
        torch.tensor([0]),
        torch.tensor([[float(negative)]]),
        NONE,
    )

    assert loss.item() == pytest.approx(expected)


def test_future_item_loss_raises_the_positives_and_lowers_the_negatives() -> None:
    positives = torch.zeros(3, requires_grad=True)
    negatives = torch.zeros(2, 4, requires_grad=True)
    loss = future_item_loss(positives, torch.tensor([0, 1, 1]), negatives, NONE)
    of_positives, of_negatives = torch.autograd.grad(loss, [positives, negatives])

    assert (of_positives < 0).all()
    assert (of_negatives > 0).all()


def test_the_losses_have_the_gradients_of_finite_differences() -> None:
    random = torch.Generator().manual_seed(6)
    c = torch.randn(3, 5, generator=random, dtype=torch.float64).requires_grad_()
    logits = torch.randn(7, 3, generator=random, dtype=torch.float64).requires_grad_()
    occurrences = torch.randint(4, (7,), generator=random).double()

    assert torch.autograd.gradcheck(orthogonality_loss, (c,))
    for loss in (uniformity_loss, unique_loss):
        assert torch.autograd.gradcheck(lambda a: loss(a.softmax(-1), occurrences), (logits,))  # noqa: B023
    assert torch.autograd.gradcheck(
        lambda a: uniformity_loss(hard_assignment(a.softmax(-1)), occurrences), (logits,)
    )


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
    assignment, occurrences = assignments(20, k)

    p = by_interaction(assignment, occurrences).mean(0)
    assert uniformity_loss(assignment, occurrences).item() == pytest.approx(
        p.std() / p.mean(), abs=1e-6
    )


@pytest.mark.parametrize("k", [1, 4])
def test_uniformity_loss_has_a_finite_gradient_where_it_is_nothing(k: int) -> None:
    assignment = torch.full((3, k), 1 / k, requires_grad=True)
    loss = uniformity_loss(assignment, torch.tensor([2.0, 0.0, 1.0]))
    (gradient,) = torch.autograd.grad(loss, assignment)

    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(gradient).all()


def test_uniformity_loss_of_no_interactions_is_nothing() -> None:
    assert uniformity_loss(torch.empty(0, 3), torch.empty(0)).item() == 0


def test_uniformity_loss_is_nothing_where_all_are_in_equal_use() -> None:
    assert uniformity_loss(torch.eye(4), torch.full((4,), 3.0)).item() == 0


def test_uniformity_loss_is_greatest_where_one_takes_all() -> None:
    collapsed = torch.zeros(3, 4)
    collapsed[:, 1] = 1

    loss = uniformity_loss(collapsed, torch.tensor([1.0, 5.0, 0.0]))
    assert loss.item() == pytest.approx(np.sqrt(3))  # √(k − 1)


def test_hard_assignment_keeps_the_strongest_alone() -> None:
    assignment, _ = assignments(20, 3)
    hard = hard_assignment(assignment)

    expected = np.zeros((20, 3), dtype=np.float32)
    for item, shares in enumerate(assignment.numpy()):
        expected[item, shares.argmax()] = shares.max()
    np.testing.assert_array_equal(hard.numpy(), expected)


@pytest.mark.parametrize("k", [1, 4])
def test_unique_loss_is_its_equation(k: int) -> None:
    assignment, occurrences = assignments(20, k)

    cross_entropies = -np.log(by_interaction(assignment, occurrences).max(1))
    assert unique_loss(assignment, occurrences).item() == pytest.approx(
        cross_entropies.mean(), abs=1e-6
    )


def test_unique_loss_raises_the_strongest_of_the_items_that_occur() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(5)).requires_grad_()
    occurrences = torch.tensor([2.0, 1.0, 0.0])
    (gradient,) = torch.autograd.grad(unique_loss(logits.softmax(-1), occurrences), logits)

    assert (gradient.gather(-1, logits.argmax(-1, keepdim=True))[:2] < 0).all()
    assert not gradient[2].any()
