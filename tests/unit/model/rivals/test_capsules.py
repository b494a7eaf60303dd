"""Dynamic routing against the papers' algorithm, one interaction and one interest at a time."""

import pytest
import torch
from torch import Tensor

from model.inference import capsules as served
from model.rivals.capsules import route, squash

LENGTH, DIM, K = 5, 6, 3


def squash_plainly(vector: Tensor) -> Tensor:
    length = vector.square().sum().sqrt()
    return length**2 / (1 + length**2) * vector / length


def route_plainly(vectors: Tensor, logits: Tensor, maps: Tensor, gains: Tensor) -> Tensor:
    """Algorithm 1 of both papers: three rounds; b_tj grows by u_j · ê_tj."""
    logits = logits.clone()
    capsules = torch.empty(0)
    for _ in range(3):
        weights = logits.softmax(1)
        found = []
        for j in range(K):
            total = torch.zeros(DIM)
            for t in range(len(vectors)):
                total = total + weights[t, j] * gains[t, j] * (maps[j] @ vectors[t])
            found.append(squash_plainly(total))
        capsules = torch.stack(found)
        for t in range(len(vectors)):
            for j in range(K):
                logits[t, j] += gains[t, j] * capsules[j].dot(maps[j] @ vectors[t])
    return capsules


def draw() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return (
        torch.randn(LENGTH, DIM),
        torch.randn(LENGTH, K),
        torch.randn(K, DIM, DIM),
        torch.rand(LENGTH, K) + 0.5,
    )


def test_routing_is_the_papers_algorithm() -> None:
    vectors, logits, maps, gains = draw()
    expected = route_plainly(vectors, logits, maps, gains)

    found = route(vectors[None], logits[None], maps, gains[None])[0]
    in_numpy = served.route(vectors.numpy(), logits.numpy(), maps.numpy(), gains.numpy())

    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.from_numpy(in_numpy.capsules), expected)


def test_one_map_for_all_is_that_map_for_each() -> None:
    vectors, logits, maps, _ = draw()
    expected = route_plainly(vectors, logits, maps[:1].expand(K, -1, -1), torch.ones(LENGTH, K))

    found = route(vectors[None], logits[None], maps[:1])[0]
    in_numpy = served.route(vectors.numpy(), logits.numpy(), maps[:1].numpy())

    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.from_numpy(in_numpy.capsules), expected)


def test_gradient_takes_the_routing_weights_as_given() -> None:
    vectors, _, maps, _ = draw()
    even = torch.zeros(1, LENGTH, K)
    vectors, maps = vectors.requires_grad_(), maps.requires_grad_()

    route(vectors[None], even, maps).sum().backward()  # type: ignore[no-untyped-call]
    found = vectors.grad
    weights = torch.from_numpy(
        served.route(vectors.detach().numpy(), even[0].numpy(), maps.detach().numpy()).weights
    )
    again = vectors.detach().requires_grad_()
    totals = torch.einsum("tj,jde,te->jd", weights, maps.detach(), again)
    squash(totals).sum().backward()  # type: ignore[no-untyped-call]

    torch.testing.assert_close(found, again.grad)


def test_interest_that_is_not_in_use_gets_nothing() -> None:
    vectors, logits, maps, _ = draw()
    logits[:, 2] = -torch.inf

    found = route(vectors[None], logits[None], maps)[0]

    assert not found[2].any()
    torch.testing.assert_close(found[:2], route(vectors[None], logits[None, :, :2], maps[:2])[0])


@pytest.mark.parametrize("length", [1e-20, 1e-3, 1.0, 1e3])
def test_squash_keeps_the_direction_and_bounds_the_length(length: float) -> None:
    vector = torch.tensor([0.6, -0.8]) * length

    found = squash(vector)

    torch.testing.assert_close(found, vector * length / (1 + length**2), rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(torch.from_numpy(served.squash(vector.numpy())), found)


def test_squash_of_nothing_has_a_gradient() -> None:
    nothing = torch.zeros(3, requires_grad=True)

    squash(nothing).sum().backward()  # type: ignore[no-untyped-call]

    assert nothing.grad is not None
    assert nothing.grad.isfinite().all()
