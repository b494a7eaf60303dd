"""GRU4Rec's recurrence against a plain loop."""

import torch
from torch import Tensor

from model.rivals.gru4rec import Gru4Rec
from tests.padded import history_of
from tests.rivals import DIM, new_rival


def test_user_is_the_last_state_of_gated_recurrent_units() -> None:
    rival = new_rival(Gru4Rec)
    assert isinstance(rival, Gru4Rec)
    vectors = torch.randn(5, DIM)
    from_input = rival.gru.get_parameter("weight_ih_l0").view(3, DIM, DIM)
    from_state = rival.gru.get_parameter("weight_hh_l0").view(3, DIM, DIM)

    state = torch.zeros(DIM)
    for vector in vectors:
        reset, update = (
            torch.sigmoid(from_input[gate] @ vector + from_state[gate] @ state) for gate in (0, 1)
        )
        new = torch.tanh(from_input[2] @ vector + reset * (from_state[2] @ state))
        state = (1 - update) * new + update * state

    found = rival.encode(history_of(vectors))
    assert found.shape == (1, 1, DIM)
    torch.testing.assert_close(found[0, 0], state)


def test_age_says_nothing_beyond_the_order() -> None:
    rival = new_rival(Gru4Rec)
    vectors = torch.randn(3, DIM)

    def encoded(ages: list[int]) -> Tensor:
        return rival.encode(history_of(vectors, ages))

    assert (encoded([9, 4, 0]) == encoded([2, 1, 0])).all()
