"""What validation chooses of a trained stage."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.config.training_config import TrainingConfig
from model.data.dataset import Sequences
from model.opal import OpalEncoder
from model.training import serving_choices
from model.training.popularity import EXPONENTS, popularity_lengths
from model.training.serving_choices import Chooser, ServingChoices, is_better
from model.training.validation import evaluate_encoder

N_ITEMS = 400
INTERACTIONS = np.arange(N_ITEMS, 0, -1) ** 2
CONFIG = TrainingConfig(max_len=5)


@pytest.fixture
def encoder() -> OpalEncoder:
    """One that knows nothing: its scores are chance."""
    torch.manual_seed(4)
    return OpalEncoder(n_items=N_ITEMS, n_interests=2, dim=8, temperature=0.1)


def users_of(targets: range, n_users: int = 300) -> Sequences:
    """Users who have one item, and want one of these."""
    random = np.random.default_rng(5)
    histories = [random.integers(150, 250, 1) for _ in range(n_users)]
    return Sequences(histories, [random.choice(targets, 1) for _ in range(n_users)])


def chooser(targets: range, config: TrainingConfig = CONFIG) -> Chooser:
    users = users_of(targets)
    return Chooser(config, users, users.sample(50), INTERACTIONS)


def test_popularity_counts_where_users_want_what_is_popular(encoder: OpalEncoder) -> None:
    users = users_of(range(40))
    found = {
        exponent: evaluate_encoder(
            encoder, users, "soft", 5, popularity_lengths(INTERACTIONS, exponent)
        )
        for exponent in EXPONENTS
    }
    best = max(EXPONENTS, key=lambda each: (found[each]["recall@50"], found[each]["ndcg@50"]))

    assert best > 0
    choices, metrics = chooser(range(40)).choose(encoder, "soft")
    assert choices == ServingChoices(5, best)
    assert metrics == pytest.approx(found[best])
    evaluated = chooser(range(40)).evaluate(encoder, users, "soft", ServingChoices(5, best))
    assert evaluated == found[best]


def test_what_is_better_by_chance_is_left_out(
    encoder: OpalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_choices, "is_better", lambda users, before: users is before)

    assert chooser(range(40)).choose(encoder, "soft")[0].popularity == 0


def test_it_does_not_count_where_they_want_what_is_rare(encoder: OpalEncoder) -> None:
    assert chooser(range(300, 400)).choose(encoder, "soft")[0].popularity == 0


@pytest.mark.parametrize("given", [0.0, 0.3])
def test_what_was_given_is_not_searched(encoder: OpalEncoder, given: float) -> None:
    config = replace(CONFIG, popularity=given)

    assert chooser(range(40), config).choose(encoder, "soft")[0].popularity == given


def test_vectors_of_any_length_keep_theirs(encoder: OpalEncoder) -> None:
    config = replace(CONFIG, model="mind", unit_vectors=False)

    assert chooser(range(40), config).choose(encoder, "soft")[0].popularity == 0


@pytest.mark.parametrize(
    ("gained", "lost", "expected"),
    [
        (1, 0, False),
        (4, 0, False),  # four are two standard errors, which chance reaches
        (5, 0, True),
        (6, 1, False),
        (9, 1, True),
        (0, 0, False),
        (0, 9, False),
    ],
)
def test_a_gain_has_to_be_more_than_two_standard_errors(
    gained: int, lost: int, expected: bool
) -> None:
    gains = np.concatenate([np.full(gained, 0.25), np.full(lost, -0.25), np.zeros(158)])
    assert is_better(gains + 0.5, np.full(len(gains), 0.5)) == expected
