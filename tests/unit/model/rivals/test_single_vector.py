"""The loss at every position, and SASRec's own, against plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.config.training_config import TrainingConfig
from model.data.histories import TrainingBatch
from model.layers import next_item
from model.rivals.batch import read_batch
from model.rivals.gru4rec import Gru4Rec
from model.rivals.rival import MAIN, Rival
from model.rivals.sasrec import SasRec
from tests import rivals
from tests.padded import history_of
from tests.rivals import DIM, MAX_LEN, N_ITEMS

CONFIG = TrainingConfig(model="sasrec", dim=DIM, max_len=MAX_LEN)

HISTORIES = [[3, 7, 3, 9], [5], [1, 2]]
POSITIVES = [[4, 8], [6], [9, 0, 7]]
NEGATIVES = [2, 7, 9, 30, 41]
LOG_WEIGHTS = np.array([0.3, -0.2, 0.0, 1.0, 0.5], dtype=np.float32)


def batch_of(histories: list[list[int]]) -> TrainingBatch:
    batch = rivals.batch_of(histories, positives=POSITIVES, negatives=NEGATIVES)
    return replace(batch, log_weights=LOG_WEIGHTS, own_future=np.array([[2, 2], [1, 2]]))


def new(cls: type[Rival], **own: bool | float) -> Rival:
    torch.manual_seed(1)
    return cls(
        n_items=N_ITEMS,
        n_interests=1,
        dim=DIM,
        max_len=MAX_LEN,
        temperature=0.2,
        learn_temperature=True,
        unit_vectors=True,
        sparse_gradients=False,
        **own,
    )


def state_after(rival: Rival, history: list[int]) -> Tensor:
    """Encode a part of a history as it lies in the whole. Shape (d,)."""
    vectors = rival.embed(torch.tensor(history))
    return functional.normalize(rival.encode(history_of(vectors))[0, 0], dim=0)


def test_next_item_loss_is_that_of_a_loop_over_positions() -> None:
    rival = new(Gru4Rec)  # whose states say nothing of ages

    found = rival.losses(batch_of(HISTORIES), MAIN, CONFIG)["next_item"]

    losses = []
    items = rival.item_embeddings()
    for history in HISTORIES:
        for t in range(len(history) - 1):
            state, following = state_after(rival, history[: t + 1]), history[t + 1]
            score = state @ items[following] / 0.2
            others = [
                state @ items[negative] / 0.2 + weight
                for negative, weight in zip(NEGATIVES, LOG_WEIGHTS, strict=True)
                if negative != following
            ]
            losses.append(torch.stack([score, *others]).logsumexp(0) - score)
    torch.testing.assert_close(found, torch.stack(losses).mean())


@pytest.mark.parametrize("cls", [Gru4Rec, SasRec])
def test_without_weight_the_next_items_are_left_out(cls: type[Rival]) -> None:
    losses = new(cls).losses(batch_of(HISTORIES), MAIN, replace(CONFIG, next_item=0.0))

    assert set(losses) == {"prediction"}


def test_prediction_loss_is_about_the_newest_state() -> None:
    rival = new(Gru4Rec)
    batch = batch_of(HISTORIES)

    found = rival.losses(batch, MAIN, CONFIG)["prediction"]

    z = torch.stack([state_after(rival, history) for history in HISTORIES]).unsqueeze(1)
    expected = rival.prediction_loss(read_batch(batch, rival), z)
    torch.testing.assert_close(found, expected)


def test_only_some_positions_are_drawn_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_item, "POSITIONS_PER_USER", 1)
    rival = new(Gru4Rec)
    batch = batch_of(HISTORIES)

    found = set()
    for seed in range(20):
        torch.manual_seed(seed)
        found.add(round(rival.losses(batch, MAIN, CONFIG)["next_item"].item(), 4))

    assert len(found) == 4, "3 positions of 4"


def test_no_position_is_followed_where_histories_hold_one_interaction() -> None:
    rival = new(SasRec)

    losses = rival.losses(batch_of([[3], [5], [1]]), MAIN, CONFIG)
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]

    assert losses["next_item"].item() == 0
    assert losses["prediction"].isfinite()


def test_binary_loss_is_that_of_a_loop() -> None:
    """Equation 7; a negative that is the user's own does not count."""
    rival = new(SasRec, binary=True, dropout=0.0)
    assert isinstance(rival, SasRec)
    torch.manual_seed(12)
    drawn = iter(torch.randint(N_ITEMS, (7,)).tolist())  # the loss draws the same, and no more
    torch.manual_seed(12)

    found = rival.losses(batch_of(HISTORIES), MAIN, CONFIG)

    items = rival.item_embeddings()
    losses, n_own = [], 0
    for history, positives in zip(HISTORIES, POSITIVES, strict=True):
        states = rival.states(history_of(items[torch.tensor(history)]))
        for state, following in zip(states, [*history[1:], positives[0]], strict=True):
            user = functional.normalize(state, dim=0) / 0.2
            loss = -functional.logsigmoid(user @ items[following])
            negative = next(drawn)
            if negative in history + positives:
                n_own += 1
            else:
                loss = loss - (1 - torch.sigmoid(user @ items[negative])).log()
            losses.append(loss)
    assert n_own > 0, "take another seed"
    assert set(found) == {"next_item"}
    torch.testing.assert_close(found["next_item"], torch.stack(losses).mean())


def test_the_papers_recipe_learns_by_the_papers_loss() -> None:
    sizes = {"n_items": N_ITEMS, "n_interests": 1, "max_len": 50, "sparse_gradients": False}
    paper = TrainingConfig.for_recipe("paper", model="sasrec")

    rivals = [SasRec.from_config(config, **sizes) for config in (CONFIG, paper)]

    assert [rival.binary for rival in rivals] == [False, True]
    assert [rival.transformer.dropout.p for rival in rivals] == [0.2, 0.5]
    assert set(rivals[1].losses(batch_of(HISTORIES), MAIN, paper)) == {"next_item"}


def test_losses_drop_and_interests_do_not() -> None:
    rival = new(SasRec, dropout=0.5)
    batch, histories = batch_of(HISTORIES), torch.tensor([[3, 7, 9]])

    losses, interests = [], []
    for _ in range(2):
        losses.append(rival.losses(batch, MAIN, CONFIG)["prediction"].item())
        interests.append(rival.interests(histories, MAIN))

    assert losses[0] != losses[1]
    assert (interests[0] == interests[1]).all()


def test_ages_count_in_sasrec() -> None:
    rival = new(SasRec, dropout=0.0)
    batch = batch_of(HISTORIES)

    older = rival.losses(replace(batch, ages=batch.ages + 2), MAIN, CONFIG)

    assert older["prediction"] != rival.losses(batch, MAIN, CONFIG)["prediction"]
