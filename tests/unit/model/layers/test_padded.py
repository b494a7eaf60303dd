"""Histories in one array: what stands where, and what reaches what was padded."""

import torch

from model.layers.padded import pad


def test_interactions_stand_in_their_order_and_padding_behind_them() -> None:
    vectors, rows = torch.arange(10.0).view(5, 2), torch.tensor([4, 1, 4, 2])

    padded = pad(vectors, rows, torch.tensor([3, 0, 1]), torch.tensor([5, 2, 0, 7]))

    assert padded.is_item.tolist() == [[True] * 3, [False] * 3, [True, False, False]]
    assert padded.ages.tolist() == [[5, 2, 0], [0, 0, 0], [7, 0, 0]]
    assert torch.equal(padded.vectors[0], vectors[[4, 1, 4]])
    assert torch.equal(padded.vectors[2, 0], vectors[2])
    assert not padded.vectors[~padded.is_item].any()


def test_nobody_and_nothing_can_be_padded() -> None:
    none = torch.zeros(0, dtype=torch.int64)

    assert pad(torch.ones(2, 5), none, none, none).vectors.shape == (0, 0, 5)
    assert pad(torch.ones(2, 5), none, torch.zeros(3, dtype=torch.int64), none).ages.shape == (3, 0)


def test_without_padding_histories_are_what_they_were_made_of() -> None:
    vectors, rows = torch.arange(10.0).view(5, 2), torch.tensor([4, 1, 4, 2])
    lengths, ages = torch.tensor([3, 0, 1]), torch.tensor([5, 2, 0, 7])

    found = pad(vectors, rows, lengths, ages).laid_out()

    for tensor, expected in zip(found, (vectors[rows], lengths, ages), strict=True):
        assert torch.equal(tensor, expected)
