"""What training can be told: model size, recipe, schedule, loss weights; checked when made.

A recipe is a set of values for all options that were not given. ``paper`` is what a model's own
paper describes (``model.config.paper_recipes``); ``default`` is its architecture, with a little
more of its own, trained for recall, with OPAL's values for all models (docs/recipe.md has the
trials).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from model.config.config_changes import name_changes
from model.config.data_size import values_by_size
from model.config.foreign_options import foreign_options
from model.config.loss_weights import LossWeights
from model.config.options import check_option, option, switch
from model.config.paper_recipes import OWN_DEFAULTS, PAPER_RECIPES
from model.errors import InputError
from model.model_names import (
    OPAL,
    SINGLE_VECTOR_RIVALS,
    TRAINABLE_MODELS,
)

Recipe = Literal["default", "paper"]

_K = 8


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that determines a training besides its data; defaults are the default recipe's.

    Each field is an option of ``python -m model train``, and its help text says what it is; but
    ``model``, which stands beside them, and the loss weights. ``for_recipe`` gives another recipe's
    values.

    Raises:
        InputError: A value is out of its range; the message names the option.
    """

    model: str = OPAL
    recipe: Recipe = option(  # noqa: RUF009 - makes a field, as dataclasses.field does
        "default", "whose values the other options have", str, choices=("default", "paper")
    )
    k: int | None = option(
        None,
        "interests per user, which for OPAL is the number of hyper-categories; not given: 8, or "
        "d where that is less; of a model with a single vector always 1",
        int,
        least=1,
    )
    dim: int = option(128, "d, embedding and hidden size", int, least=1)
    max_len: int | None = option(
        None,
        "L, interactions of a history that count; not given: found on validation",
        int,
        least=1,
    )
    popularity: float | None = option(
        None,
        "exponent of an item's training interactions in its scores; not given: found on "
        "validation; 0: popularity does not count",
        float,
        least=0.0,
        most=1.0,
    )
    batch_size: int = option(256, "B, sequences per step", int, least=1)
    start: Literal["pmi", "random"] = option(
        "pmi", "item vectors start from co-occurrence, or at random", str, choices=("pmi", "random")
    )
    positives: Literal["horizon", "one", "next"] = option(
        "horizon",
        "what lies ahead of the cut counts as positive: all within the horizon, one item drawn "
        "from all of it, or the very next item",
        str,
        choices=("horizon", "one", "next"),
    )
    horizon: float = option(
        0.2, "how far ahead, as a share of the user's training sequence", float, above=0.0, most=1.0
    )
    min_cut: int = option(
        1, "interactions before the cut at least, where there are more", int, least=1
    )
    cut_draws: int | None = option(
        None,
        "positions drawn for a cut, the latest of which it is: histories as long as those that are "
        "served come more often; not given: 2 from 10,000 users on, 1 below",
        int,
        least=1,
        most=100,
    )
    neighbours: float | None = option(
        None,
        "weight, beside what an item's vector learns itself, of what those of its ten nearest "
        "neighbours by co-occurrence do; not given: 1 from 10,000 users on, 0 below",
        float,
        least=0.0,
    )
    history_dropout: float = option(
        0.5,
        "share of a history's interactions dropped at random in training",
        float,
        least=0.0,
        below=1.0,
    )
    negatives: Literal["popular", "even"] = option(
        "popular",
        "how shared negatives are drawn: by popularity and weighted for it, or evenly",
        str,
        choices=("popular", "even"),
    )
    n_negatives: int | None = option(
        None,
        "N, shared negatives per step; not given: B of even ones; of popular ones 2,048, or the "
        "whole catalog up to 4,096 items",
        int,
        least=1,
    )
    temperature: float = option(
        0.1, "τ of scores; learned from this start by default", float, above=0.0
    )
    learn_temperature: bool = option(True, "learn τ of scores", switch)
    unit_vectors: bool = option(
        True, "items and interests are of unit length; those of OPAL always are", switch
    )
    assignment_temperature: float = option(0.05, "τ of the soft assignment", float, above=0.0)
    sharing: float = option(
        0.25,
        "share of the whole history that every interest also holds",
        float,
        least=0.0,
        most=1.0,
    )
    learn_recency: bool = option(
        True, "learn how the weight of an interaction falls with its age", switch
    )
    evolution: float = option(
        0.1, "share of the evolved interest h in z (hard stage)", float, above=0.0, below=1.0
    )
    learn_evolution: bool = option(True, "learn the share of h from this start", switch)
    general: float = option(
        0.3,
        "length, beside that of an interest, of the general interest that every interest also "
        "holds: what is made of the history in order; learned from this start; 0: none",
        float,
        least=0.0,
    )
    general_len: int | None = option(
        None,
        "newest interactions that the general interest is made of at most; not given: all that "
        "count",
        int,
        least=1,
    )
    attention: bool | None = option(
        None,
        "the general interest of opal and cmi is made by self-attention too, not by the GRU alone; "
        "not given: from 10,000 users on",
        switch,
    )
    next_item: float = option(
        1.0,
        "weight of predicting the next item after each interaction of a history too, by what has a "
        "state there: the general interest of opal and cmi, dssrec, gru4rec, sasrec",
        float,
        least=0.0,
    )
    learning_rate: float = option(1e-3, "of Adam", float, above=0.0)
    fine_tuning_rate: float = option(
        0.2, "step size of the hard stage, as a share of --learning-rate", float, above=0.0
    )
    weight_decay: float = option(0.0, "of Adam, added to the gradient", float, least=0.0)
    averaging: float = option(
        0.998,
        "decay per step of the weights' moving average that is validated and kept; 0: none",
        float,
        least=0.0,
        below=1.0,
    )
    eval_every: int | None = option(
        None, "steps between validations; not given: once an epoch, 50 to 1000", int, least=1
    )
    patience: int = option(5, "validations without gain before a stage ends", int, least=1)
    max_steps: int = option(100_000, "steps of a stage at most", int, least=1)
    seed: int = option(0, "of initialisation and sampling", int, least=0)
    loss_weights: LossWeights = field(default_factory=LossWeights)

    @classmethod
    def for_recipe(
        cls, recipe: Recipe, given: Mapping[str, Any] | None = None, *, model: str = OPAL
    ) -> "TrainingConfig":
        """Return a recipe's values, except for the options given.

        Args:
            recipe: Its name.
            given: Values of options by field name.
            model: One of ``TRAINABLE_MODELS``.

        Raises:
            InputError: A value is out of its range.
        """
        values = (PAPER_RECIPES if recipe == "paper" else OWN_DEFAULTS).get(model, {})
        return cls(**{**values, **(given or {}), "recipe": recipe, "model": model})

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None:
                check_option(each.name, value, each.metadata)
        if self.model not in TRAINABLE_MODELS:
            raise InputError(
                f"--model is {self.model}; expected one of {', '.join(TRAINABLE_MODELS)}"
            )
        if self.model == OPAL and not self.unit_vectors:
            raise InputError(f"--unit-vectors is off; vectors of {OPAL} are always of unit length")
        if self.popularity and not self.unit_vectors:
            raise InputError(
                f"--popularity is {self.popularity}; vectors of {self.model} (recipe "
                f"{self.recipe}) are of any length and learn it, leave it out, or pass "
                "--unit-vectors on"
            )
        if self.model in SINGLE_VECTOR_RIVALS and self.k not in (None, 1):
            raise InputError(
                f"--k is {self.k}; {self.model} makes a single vector of a history, leave it out"
            )
        if self.model == OPAL and self.k is not None and self.k > self.dim:
            raise InputError(
                f"--k is {self.k}, --dim is {self.dim}; at most dim hyper-categories can be "
                "orthogonal"
            )

    def fitted_to(self, n_users: int) -> "TrainingConfig":
        """Return it with what follows from the data and the model, where it is not given.

        k of a model with a single vector is 1, of all others 8, the paper's own number, or d where
        that is less: more hyper-categories of OPAL than d could not be orthogonal. Attention is a
        part of a general interest, which OPAL and CMI have.

        Args:
            n_users: Users of the data.
        """
        values = values_by_size(n_users)
        values["k"] = 1 if self.model in SINGLE_VECTOR_RIVALS else min(_K, self.dim)
        values |= {name: given for name in values if (given := getattr(self, name)) is not None}
        if "attention" in self.idle_options():
            values["attention"] = None
        return replace(self, **values)

    def fitted_to_dataset(self, summary: Mapping[str, Any]) -> "TrainingConfig":
        """See ``fitted_to``.

        Args:
            summary: What ``dataset.json`` holds.
        """
        return self.fitted_to(int(summary.get("users", 0)))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types, without what says nothing of the model."""
        idle = self.idle_options()
        return {name: value for name, value in asdict(self).items() if name not in idle}

    def idle_options(self) -> frozenset[str]:
        """Return the fields that say nothing of the training."""
        idle = foreign_options(self.model)
        if self.model == OPAL and not self.general:
            idle |= {"general_len", "attention", "next_item"}
        if self.model == "sasrec" and self.recipe == "paper":
            idle |= {"next_item"}  # it has a loss of its own
        return idle

    def differences(self, before: dict[str, Any], *, training_only: bool = False) -> str:
        """Name the options that are not what they were.

        Args:
            before: See ``config_changes.name_changes``.
            training_only: Leave out what no step of a training depends on.
        """
        now = self.to_dict()
        if training_only:
            now.pop("popularity", None)
        return name_changes(before, now)
