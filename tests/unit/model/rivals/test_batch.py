"""A batch as the rivals read it: which vector stands where."""

import torch

from model.rivals.batch import read_batch
from model.rivals.gru4rec import Gru4Rec
from tests.rivals import batch_of, new_rival


def test_vectors_stand_where_their_items_do() -> None:
    rival = new_rival(Gru4Rec)
    batch = read_batch(batch_of([[7, 3, 7], [9]], positives=[[4], [5, 6]], negatives=[1, 2]), rival)
    vectors = rival.embed(torch.arange(50))

    histories = batch.histories
    assert histories.is_item.tolist() == [[True] * 3, [True, False, False]]
    assert histories.ages.tolist() == [[2, 1, 0], [0, 0, 0]]
    torch.testing.assert_close(histories.vectors[0], vectors[[7, 3, 7]])
    torch.testing.assert_close(histories.vectors[1, 0], vectors[9])
    assert not histories.vectors[~histories.is_item].any()
    torch.testing.assert_close(batch.positives, vectors[[4, 5, 6]])
    assert batch.owners.tolist() == [0, 1, 1]
    torch.testing.assert_close(batch.negatives, vectors[[1, 2]])
    torch.testing.assert_close(batch.items[batch.rows], vectors[[7, 3, 7, 9]])
    assert batch.catalog_rows[batch.positive_rows].tolist() == [4, 5, 6]
    assert batch.catalog_rows[batch.negative_rows].tolist() == [1, 2]


def test_what_is_lost_reaches_the_items_and_nothing_else() -> None:
    rival = new_rival(Gru4Rec)
    batch = read_batch(batch_of([[7, 3]], positives=[[4]], negatives=[1]), rival)

    loss = batch.histories.vectors.sum() + batch.positives.sum()
    (gradient,) = torch.autograd.grad(loss, [rival.item_table])

    assert gradient.abs().sum(1).nonzero()[:, 0].tolist() == [3, 4, 7]
