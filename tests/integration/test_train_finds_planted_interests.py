"""Training on a log whose interests are known finds them; where there are none, it finds none.

A user likes two of eight categories and draws every interaction from them, uniformly. Nothing can
therefore be better than to list the unseen items of the liked categories: the bars stand close
below that. The same log with its items shuffled has nothing to find: there, all has to be near
chance.

Whether hyper-categories are the planted categories is told by the normalised mutual information
of the two partitions of the catalog, every item counted once; an item's hyper-category is
argmax_j e_v · c_j.

The paper's losses do not ask for that: any partition of the items into k parts of equal use lets
interests stand for all that a user likes as well as the planted one does, if histories hold items
of every part. Which one it becomes is decided early, from a random start. With the paper's τ = 0.1
items are assigned before those of a category are near each other (at the start max_j a_tj is 0.5
on average, d = 32): the mutual information then stays at 0.1 to 0.65, over d, L, numbers of users,
of liked categories and of steps, while all else is found. With τ = 1 the assignment stays soft
until they are near, and follows them: 0.9 to 1 over seeds where users like three of the eight
categories, 0.6 to 0.9 where they like two.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.config.training_config import TrainingConfig
from model.data.dataset import Dataset, prepare
from model.inference.loading import load_encoder
from model.run import read_run
from model.training.fit import fit
from tests.bundles import hyper_categories_of
from tests.planted import PlantedLog, chance_of, normalised_mutual_information

LOG = PlantedLog(n_users=400, n_categories=8, items_per_category=20, liked=2, length=20)
SIZES = {"k": 8, "dim": 32, "max_len": 20, "batch_size": 128, "learning_rate": 3e-3}
DEFAULT = TrainingConfig.for_recipe(
    "default", {**SIZES, "averaging": 0.98, "eval_every": 50, "max_steps": 150, "patience": 3}
)
# Validated at the end of a stage alone: the hyper-categories are those of the last step.
PAPER = TrainingConfig.for_recipe("paper", {**SIZES, "eval_every": 400, "max_steps": 400})
TOP = 10


class Finding:
    """What a trained run makes of each user's test history, beside what was planted.

    Attributes:
        metrics: What training wrote of the test part.
        category: Planted category of each item row. Shape (n_items,), int64.
        histories: Item rows of each user before the test part.
        liked: Planted categories of each user. Shape (n_users, liked), int64.
        candidates: The best unseen item rows of each user. Shape (n_users, TOP), int64.
        item_vectors: Shape (n_items, d), float32.
        hyper_category: Learned hyper-category of each item row. Shape (n_items,), int64.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        *,
        log: PlantedLog = LOG,
        shuffled: bool = False,
    ) -> None:
        interactions, items = log.write(folder, shuffled=shuffled)
        prepare(interactions, folder / "data", items=items, split="user")
        manifest = fit(folder / "data", folder / "run", config, yardsticks=())
        self.metrics = manifest["metrics"]["test"]
        run = read_run(folder / "run")
        dataset = Dataset.open(folder / "data")
        encoder = load_encoder(run.encoder_path)
        names = run.items["category"].list.first().str.strip_prefix("c")
        self.category = names.cast(int).to_numpy()
        self.item_vectors = encoder.item_vectors
        self.hyper_category = (encoder.item_vectors @ hyper_categories_of(encoder).T).argmax(1)
        self.histories = [
            dataset.items[begin:end]
            for begin, end in zip(dataset.offsets[:-1], dataset.valid_end, strict=True)
        ]
        self.candidates = np.array(
            [self._best_unseen(encoder.encode(h).vectors, h) for h in self.histories]
        )
        planted = log.draw()["item_id"].str.strip_prefix("i").cast(int).to_numpy()
        self.liked = np.array(
            [np.unique(own) for own in (planted // log.items_per_category).reshape(-1, log.length)]
        )

    def _best_unseen(self, interests: np.ndarray, history: np.ndarray) -> np.ndarray:
        scores = (interests @ self.item_vectors.T).max(0)
        scores[history] = -np.inf
        best: np.ndarray = np.argsort(-scores)[:TOP]
        return best

    def share_of_candidates_liked(self) -> float:
        """Share of candidates from the user's planted categories."""
        found = self.category[self.candidates]
        return float((found[:, :, None] == self.liked[:, None, :]).any(2).mean())

    def share_of_users_with_every_liked_category(self) -> float:
        found = self.category[self.candidates]
        return float((found[:, :, None] == self.liked[:, None, :]).any(1).all(1).mean())

    def share_of_neighbours_alike(self) -> float:
        """Share of each item's five nearest items that are of its planted category."""
        unit = self.item_vectors / np.linalg.norm(self.item_vectors, axis=1, keepdims=True)
        cosine = unit @ unit.T
        np.fill_diagonal(cosine, -np.inf)
        nearest = np.argsort(-cosine, axis=1)[:, :5]
        return float((self.category[nearest] == self.category[:, None]).mean())

    def possible_recall(self) -> float:
        """Expected recall of one who knows the planted categories."""
        n_liked = LOG.liked * LOG.items_per_category
        unseen = [n_liked - len(np.unique(history)) for history in self.histories]
        return float(np.minimum(1, TOP / np.array(unseen)).mean())

    def chance_recall(self) -> float:
        """Expected recall of unseen items drawn at random."""
        unseen = [len(self.category) - len(np.unique(history)) for history in self.histories]
        return float((TOP / np.array(unseen)).mean())


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Finding:
    return Finding(tmp_path_factory.mktemp("planted"), DEFAULT)


@pytest.fixture(scope="module")
def of_paper(tmp_path_factory: pytest.TempPathFactory) -> Finding:
    return Finding(tmp_path_factory.mktemp("paper"), PAPER)


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> Finding:
    return Finding(tmp_path_factory.mktemp("shuffled"), DEFAULT, shuffled=True)


@pytest.fixture(scope="module", params=["default", "paper"])
def finding(request: pytest.FixtureRequest) -> Finding:
    """Of either recipe."""
    name = "planted" if request.param == "default" else "of_paper"
    result: Finding = request.getfixturevalue(name)
    return result


# Over seeds, recall is 0.8 to 1.0 of what is possible; 0.90 to 0.99 of the users have every liked
# category among their candidates (chance: 0.5); all else is 0.99 or more, and the default recipe's
# mutual information is 1. On shuffled data recall is 1.0 to 1.2 of chance, and the rest is within
# 0.03 of its own.


def test_recall_is_near_the_best_possible(finding: Finding) -> None:
    assert finding.metrics["recall@10"] > 0.75 * finding.possible_recall()
    assert finding.metrics["recall@10"] > 4 * finding.chance_recall()


def test_candidates_come_from_the_categories_that_the_user_likes(finding: Finding) -> None:
    assert finding.share_of_candidates_liked() > 0.9


def test_every_category_that_the_user_likes_is_among_the_candidates(finding: Finding) -> None:
    assert finding.share_of_users_with_every_liked_category() > 0.8


def test_the_nearest_items_share_the_planted_category(finding: Finding) -> None:
    assert finding.share_of_neighbours_alike() > 0.9


def test_hyper_categories_of_the_default_recipe_are_the_planted_categories(
    planted: Finding,
) -> None:
    information = normalised_mutual_information(planted.hyper_category, planted.category)

    assert information >= 0.9
    assert set(planted.hyper_category) == set(range(8))


def test_hyper_categories_of_the_papers_losses_follow_the_planted_ones_at_a_high_temperature(
    tmp_path: Path,
) -> None:
    config = replace(
        PAPER, temperature=1.0, assignment_temperature=1.0, eval_every=800, max_steps=800
    )
    found = Finding(tmp_path, config, log=replace(LOG, liked=3))

    assert normalised_mutual_information(found.hyper_category, found.category) >= 0.9
    assert found.share_of_neighbours_alike() > 0.9


def test_shuffled_data_stay_near_chance(shuffled: Finding) -> None:
    assert shuffled.metrics["recall@10"] < 1.5 * shuffled.chance_recall()
    assert shuffled.share_of_candidates_liked() < 0.35  # chance: 2 of 8 categories
    assert shuffled.share_of_neighbours_alike() < 0.25  # chance: 1 of 8


def test_hyper_categories_of_shuffled_data_tell_nothing(shuffled: Finding) -> None:
    information = normalised_mutual_information(shuffled.hyper_category, shuffled.category)
    expected, greatest = chance_of(shuffled.hyper_category, shuffled.category)

    assert information < greatest + 0.02
    assert information < expected + 0.05
    assert greatest < 0.2


def test_mutual_information_is_that_of_its_equation() -> None:
    planted = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    half = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    finer = np.array([0, 0, 1, 1, 2, 2, 3, 3])

    assert normalised_mutual_information(planted, planted) == pytest.approx(1)
    assert normalised_mutual_information(1 - planted, planted) == pytest.approx(1)
    assert normalised_mutual_information(half, planted) == pytest.approx(0)
    assert normalised_mutual_information(finer, planted) == pytest.approx(2 * 1 / (1 + 2))  # bits
    assert normalised_mutual_information(np.zeros(8, dtype=int), planted) == pytest.approx(0)
    assert normalised_mutual_information(*[np.zeros(8, dtype=int)] * 2) == 0
