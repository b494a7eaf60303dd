"""The moving average of the weights against its equation, taken over the whole table every step."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from model.data.neighbours import Neighbours
from model.opal import OpalEncoder
from model.training.averaging import MovingAverage

N_ITEMS, DIM = 30, 6
NEVER = N_ITEMS - 1  # an item that no step touches

kinds = pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])

State = dict[str, Tensor]


class Steps:
    """Real optimiser steps on an encoder, with the average of it that is under test.

    Args:
        sparse: The item table has sparse gradients.
        decay: Of the average.
    """

    def __init__(self, *, sparse: bool, decay: float) -> None:
        torch.manual_seed(0)
        self.encoder = OpalEncoder(
            n_items=N_ITEMS,
            n_interests=3,
            dim=DIM,
            temperature=0.1,
            learn_temperature=True,
            sparse_gradients=sparse,
        )
        random = np.random.default_rng(0)
        self.encoder.lean_on(
            Neighbours(
                random.integers(0, 5, (N_ITEMS, 2), dtype=np.int32),
                random.random((N_ITEMS, 2), dtype=np.float32),
            ),
            0.5,
        )
        table = self.encoder.item_table
        others = [value for value in self.encoder.parameters() if value is not table]
        self._optimizers: list[torch.optim.Optimizer] = [
            (torch.optim.SparseAdam if sparse else torch.optim.Adam)([table], lr=0.1),
            torch.optim.Adam([value for value in others if value.requires_grad], lr=0.1),
        ]
        self.average = MovingAverage(self.encoder, decay)
        self.taken = 0
        self.weights = [self._state()]

    def _state(self) -> State:
        return {name: value.clone() for name, value in self.encoder.state_dict().items()}

    def take(self, n: int) -> None:
        """Take steps whose gradients come from a few items each; some items rest for long."""
        for _ in range(n):
            self.taken += 1
            random = torch.Generator().manual_seed(self.taken)
            # Of 29 items four are used in any step, the first ones mostly; repeated ones too.
            rows = ((N_ITEMS - 1) * torch.rand(4, generator=random) ** 3).long()
            towards = torch.randn(4, 3, generator=random)
            e, c = self.encoder.embed(rows), self.encoder.hyper_categories()
            loss = ((e @ c.T - towards).square() / self.encoder.score_temperature).sum()
            for optimizer in self._optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.average.before_step()
            for optimizer in self._optimizers:
                optimizer.step()
            self.average.after_step(self.taken)
            self.weights.append(self._state())


def slow_average(weights: list[State], decay: float) -> State:
    """average ← δ average + (1 − δ) weights, δ = min(decay, t / (t + 10)); from the start on."""
    average = {name: value.double() for name, value in weights[0].items()}
    for step, state in enumerate(weights[1:], start=1):
        delta = min(decay, step / (step + 10))
        for name, value in state.items():
            average[name] = delta * average[name] + (1 - delta) * value.double()
    return average


def close(found: State, expected: State) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-6, msg=name)


@kinds
@pytest.mark.parametrize("decay", [0.5, 0.9, 0.998])
@pytest.mark.parametrize("n_steps", [1, 2, 60])
def test_the_average_is_its_equation_over_every_weight(
    sparse: bool, decay: float, n_steps: int
) -> None:
    steps = Steps(sparse=sparse, decay=decay)
    steps.take(n_steps)

    close(steps.average.encoder().state_dict(), slow_average(steps.weights, decay))


@kinds
def test_rows_that_rest_for_many_steps_are_made_up_for(sparse: bool) -> None:
    steps = Steps(sparse=sparse, decay=0.97)
    steps.take(300)
    tables = torch.stack([state["item_table"] for state in steps.weights])
    moved = (tables[1:] != tables[:-1]).any(2)

    resting = [300 - int(row.nonzero().max()) for row in moved.T if row.any()]
    assert (max(resting) > 50) == sparse  # Adam's moments move a dense row at every step
    close(steps.average.encoder().state_dict(), slow_average(steps.weights, 0.97))


def test_a_row_that_no_step_touches_stays_to_the_bit() -> None:
    steps = Steps(sparse=True, decay=0.97)
    steps.take(50)

    assert torch.equal(
        steps.average.encoder().item_table[NEVER], steps.weights[0]["item_table"][NEVER]
    )


@kinds
def test_to_look_at_the_average_does_not_change_it(sparse: bool) -> None:
    watched, left_alone = (Steps(sparse=sparse, decay=0.95) for _ in range(2))
    for _ in range(20):
        watched.take(2)
        watched.average.encoder()
        left_alone.take(2)

    expected = left_alone.average.encoder().state_dict()
    close(watched.average.encoder().state_dict(), {n: v.double() for n, v in expected.items()})


@kinds
@pytest.mark.parametrize("decay", [0.0, 0.95])
def test_the_average_goes_on_from_its_state_to_the_bit(sparse: bool, decay: float) -> None:
    steps = Steps(sparse=sparse, decay=decay)
    steps.take(25)
    saved = {name: value.clone() for name, value in steps.average.state().items()}
    resumed = copy.deepcopy(steps)
    resumed.average = MovingAverage(resumed.encoder, decay)
    resumed.average.load_state(saved)
    for each in (steps, resumed):
        each.take(25)

    expected = steps.average.encoder().state_dict()
    for name, value in resumed.average.encoder().state_dict().items():
        assert torch.equal(value, expected[name]), name


@kinds
def test_the_state_is_made_of_tensors_alone_and_is_taken_without_looking(sparse: bool) -> None:
    steps = Steps(sparse=sparse, decay=0.95)
    steps.take(25)
    state = {name: value.clone() for name, value in steps.average.state().items()}

    assert all(isinstance(value, Tensor) for value in state.values())
    steps.average.encoder()  # brings the resting rows up to date
    changed = not torch.equal(steps.average.state()["item_table"], state["item_table"])
    assert changed == sparse


@kinds
def test_what_follows_from_the_data_is_there_once(sparse: bool) -> None:
    steps = Steps(sparse=sparse, decay=0.9)

    assert steps.average.encoder()._neighbours is steps.encoder._neighbours


@kinds
def test_without_decay_the_average_is_the_encoder_itself(sparse: bool) -> None:
    steps = Steps(sparse=sparse, decay=0.0)
    steps.take(3)

    assert steps.average.encoder() is steps.encoder


@kinds
def test_the_average_is_a_copy_that_training_does_not_move(sparse: bool) -> None:
    steps = Steps(sparse=sparse, decay=0.9)
    average = steps.average.encoder()
    before = average.item_table.clone()
    with torch.no_grad():
        steps.encoder.item_table.add_(1)

    assert torch.equal(average.item_table, before)
