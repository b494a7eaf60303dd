"""What training can be told: model size, recipe, schedule, loss weights; checked when made.

A recipe is a set of values for all options that were not given. ``paper`` is what a model's own
paper describes (``model.paper_recipes``); ``default`` is the same architecture trained for recall,
with OPAL's values for all models (docs/recipe.md has the trials).
"""

import argparse
import operator
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any, Literal

from model.errors import InputError
from model.model_names import NEXT_ITEM_MODELS, OPAL, SINGLE_VECTOR_RIVALS, TRAINABLE_MODELS
from model.paper_recipes import OWN_DEFAULTS, PAPER_RECIPES

Recipe = Literal["default", "paper"]

SPARSE_INTERACTIONS = 50_000
_K_OF_SPARSE, _K = 4, 8

OPAL_ONLY = frozenset(
    {
        "assignment_temperature",
        "sharing",
        "learn_recency",
        "evolution",
        "learn_evolution",
        "general",
        "general_len",
        "loss_weights",
    }
)
"""Fields that say nothing of other models."""

# What those of an earlier version, which do not say it, were trained with.
_BEFORE = {"model": OPAL, "unit_vectors": True, "general": 0.0}
_NEXT_ITEM_BEFORE = {"gru4rec": 1.0, "sasrec": 1.0}  # of the others 0
_GENERAL_LEN_BEFORE = 20

MAX_SEED = 2**63 - 1
MAX_VALUE = 2**31 - 1
"""Of all numbers but the seed; what counts or sizes more does not end, or does not fit."""


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the losses' sum (arXiv 2407.14741: losses).

    Raises:
        InputError: A weight is negative or no number.
    """

    orthogonality: float = 10.0
    uniformity: float = 1.0
    unique: float = 1.0  # stage 2 only

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if not 0 <= weight <= MAX_VALUE:
                raise InputError(
                    f"the weight of the {name} loss is {weight}; expected 0 to {MAX_VALUE}"
                )


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither on nor off")
    return text == "on"


def _option(default: Any, help_text: str, parse: Callable[[str], Any], **limits: Any) -> Any:
    """Make a field that is an option of ``train``; limits: least, above, below, most, choices."""
    return field(default=default, metadata={"help": help_text, "parse": parse, **limits})


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
    recipe: Recipe = _option(  # noqa: RUF009 - makes a field, as dataclasses.field does
        "default", "whose values the other options have", str, choices=("default", "paper")
    )
    k: int | None = _option(
        None,
        "interests per user, which for OPAL is the number of hyper-categories; not given: 4 up to "
        "50,000 training interactions, 8 above; of a model with a single vector always 1",
        int,
        least=1,
    )
    dim: int = _option(128, "d, embedding and hidden size", int, least=1)
    max_len: int | None = _option(
        None,
        "L, interactions of a history that count; not given: found on validation",
        int,
        least=1,
    )
    batch_size: int = _option(256, "B, sequences per step", int, least=1)
    start: Literal["pmi", "random"] = _option(
        "pmi", "item vectors start from co-occurrence, or at random", str, choices=("pmi", "random")
    )
    positives: Literal["horizon", "one", "next"] = _option(
        "horizon",
        "what lies ahead of the cut counts as positive: all within the horizon, one item drawn "
        "from all of it, or the very next item",
        str,
        choices=("horizon", "one", "next"),
    )
    horizon: float = _option(
        0.2, "how far ahead, as a share of the user's training sequence", float, above=0.0, most=1.0
    )
    min_cut: int = _option(
        1, "interactions before the cut at least, where there are more", int, least=1
    )
    history_dropout: float = _option(
        0.5,
        "share of a history's interactions dropped at random in training",
        float,
        least=0.0,
        below=1.0,
    )
    negatives: Literal["popular", "even"] = _option(
        "popular",
        "how shared negatives are drawn: by popularity and weighted for it, or evenly",
        str,
        choices=("popular", "even"),
    )
    n_negatives: int | None = _option(
        None,
        "N, shared negatives per step; not given: B of even ones; of popular ones 2,048, or the "
        "whole catalog up to 4,096 items",
        int,
        least=1,
    )
    temperature: float = _option(
        0.1, "τ of scores; learned from this start by default", float, above=0.0
    )
    learn_temperature: bool = _option(True, "learn τ of scores", _switch)
    unit_vectors: bool = _option(
        True, "items and interests are of unit length; those of OPAL always are", _switch
    )
    assignment_temperature: float = _option(0.05, "τ of the soft assignment", float, above=0.0)
    sharing: float = _option(
        0.25,
        "share of the whole history that every interest also holds",
        float,
        least=0.0,
        most=1.0,
    )
    learn_recency: bool = _option(
        True, "learn how the weight of an interaction falls with its age", _switch
    )
    evolution: float = _option(
        0.1, "share of the evolved interest h in z (hard stage)", float, above=0.0, below=1.0
    )
    learn_evolution: bool = _option(True, "learn the share of h from this start", _switch)
    general: float = _option(
        0.3,
        "length, beside that of an interest, of the general interest that every interest also "
        "holds: what a GRU makes of the history; learned from this start; 0: none",
        float,
        least=0.0,
    )
    general_len: int | None = _option(
        None,
        "newest interactions that the general interest is made of at most; not given: all that "
        "count",
        int,
        least=1,
    )
    next_item: float = _option(
        1.0,
        "weight of predicting the next item after each interaction of a history too, by what has a "
        "state there: the general interest of opal and cmi, dssrec, gru4rec, sasrec",
        float,
        least=0.0,
    )
    learning_rate: float = _option(1e-3, "of Adam", float, above=0.0)
    weight_decay: float = _option(0.0, "of Adam, added to the gradient", float, least=0.0)
    averaging: float = _option(
        0.998,
        "decay per step of the weights' moving average that is validated and kept; 0: none",
        float,
        least=0.0,
        below=1.0,
    )
    eval_every: int | None = _option(
        None, "steps between validations; not given: once an epoch, 50 to 1000", int, least=1
    )
    patience: int = _option(5, "validations without gain before a stage ends", int, least=1)
    max_steps: int = _option(100_000, "steps of a stage at most", int, least=1)
    seed: int = _option(0, "of initialisation and sampling", int, least=0)
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
        for option in fields(self):
            value = getattr(self, option.name)
            if value is not None:
                _check(option.name, value, option.metadata)
        if self.model not in TRAINABLE_MODELS:
            raise InputError(
                f"--model is {self.model}; expected one of {', '.join(TRAINABLE_MODELS)}"
            )
        if self.model == OPAL and not self.unit_vectors:
            raise InputError(f"--unit-vectors is off; vectors of {OPAL} are always of unit length")
        if self.model in SINGLE_VECTOR_RIVALS and self.k not in (None, 1):
            raise InputError(
                f"--k is {self.k}; {self.model} makes a single vector of a history, leave it out"
            )
        if self.model == OPAL and self.k is not None and self.k > self.dim:
            raise InputError(
                f"--k is {self.k}, --dim is {self.dim}; at most dim hyper-categories can be "
                "orthogonal"
            )

    def fitted_to(self, n_interactions: int) -> "TrainingConfig":
        """Return it with what follows from the data and the model: k, where it is not given.

        Sparse data know fewer interests apart (the paper: 4 on its sparser set, else 8). It holds
        for the rivals as well, so that all have the same number; of those with a single vector
        k is 1.

        Args:
            n_interactions: Interactions of the training part.
        """
        if self.k is not None:
            return self
        if self.model in SINGLE_VECTOR_RIVALS:
            return replace(self, k=1)
        k = _K_OF_SPARSE if n_interactions <= SPARSE_INTERACTIONS else _K
        return replace(self, k=min(k, self.dim))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types, without what says nothing of the model."""
        values = asdict(self)
        if self.model != OPAL:
            values = {name: value for name, value in values.items() if name not in OPAL_ONLY}
        elif not self.general:
            del values["general_len"]
        if not self._learns_next_items():
            del values["next_item"]
        return values

    def _learns_next_items(self) -> bool:
        """Whether ``next_item`` says anything of the training."""
        if self.model == OPAL:
            return self.general > 0
        has_own_loss = self.model == "sasrec" and self.recipe == "paper"
        return self.model in NEXT_ITEM_MODELS and not has_own_loss

    def differences(self, before: dict[str, Any]) -> str:
        """Name the options that are not what they were, for a message.

        Args:
            before: What ``to_dict`` gave then, perhaps by way of JSON.

        Returns:
            Such as "--k is 4, was 8; --seed is 1, was 0"; empty where nothing differs.
        """
        before = {**_BEFORE, **before}
        before.setdefault("next_item", _NEXT_ITEM_BEFORE.get(str(before["model"]), 0.0))
        if before["general"]:
            before.setdefault("general_len", _GENERAL_LEN_BEFORE)
        now = self.to_dict()
        changed = [name for name in now if now[name] != before.get(name)]
        return "; ".join(
            f"{_name(name)} is {_given(now[name])}, was {_given(before.get(name))}"
            for name in changed
        )


@dataclass(frozen=True)
class TrainingOption:
    """An option of ``python -m model train``.

    Attributes:
        name: Of the field.
        parse: Text to value; raises ValueError.
        help: What it is, and its value in each recipe of OPAL.
    """

    name: str
    parse: Callable[[str], Any]
    help: str


def _describe(option: Field[Any]) -> TrainingOption:
    default, paper = option.default, PAPER_RECIPES[OPAL].get(option.name, option.default)
    values = f"default: {_text(default)}"
    if paper != default:
        values += f", paper: {_text(paper)}"
    choices = option.metadata.get("choices")
    text = option.metadata["help"] + (f": {' or '.join(choices)}" if choices else "")
    return TrainingOption(option.name, option.metadata["parse"], f"{text} ({values})")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(_given(value))


def _given(value: Any) -> Any:
    return "not given" if value is None else value


TRAINING_OPTIONS = {
    option.name: _describe(option)
    for option in fields(TrainingConfig)
    if "parse" in option.metadata
}


def _check(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    """Raise InputError where a value is outside its option's limits; NaN is outside any."""
    if "choices" in limits and value not in limits["choices"]:
        raise InputError(
            f"{_name(name)} is {value}; expected one of {', '.join(limits['choices'])}"
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    bounds = {"most": MAX_SEED if name == "seed" else MAX_VALUE, **limits}
    for kind, (holds, words) in _BOUNDS.items():
        if kind in bounds and not holds(value, bounds[kind]):
            raise InputError(f"{_name(name)} is {value}; expected {words} {bounds[kind]}")


_BOUNDS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "least": (operator.ge, "at least"),
    "above": (operator.gt, "more than"),
    "below": (operator.lt, "less than"),
    "most": (operator.le, "at most"),
}


def _name(name: str) -> str:
    return "--" + name.replace("_", "-")
