"""What training can be told: model size, schedule, loss weights; checked when made."""

from dataclasses import asdict, dataclass, field
from typing import Any

from model.errors import InputError

MAX_SEED = 2**63 - 1
MAX_VALUE = 2**31 - 1
"""Of all numbers but the seed; what counts or sizes more does not end, or does not fit."""


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the losses' sum (OPAL.md, "Losses")."""

    orthogonality: float = 10.0
    uniformity: float = 1.0
    unique: float = 1.0  # stage 2 only


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that determines a training besides its data.

    Attributes:
        k: Interests per user = number of hyper-categories.
        dim: d, embedding and hidden size.
        max_len: L, interactions of a history that count.
        temperature: τ.
        batch_size: B, sequences per step.
        n_negatives: N, shared negatives per step; None: B, as in the paper.
        learning_rate: Of Adam.
        weight_decay: Of Adam, added to the gradient. The paper ran 1e-4; here embeddings are
            normalised, so that it would only change the size of a step.
        averaging: Decay per step of the moving average of the weights that is validated and
            kept; 0 keeps the weights themselves.
        eval_every: Steps between validations.
        patience: Validations without a better Recall@50 before a stage ends.
        max_steps: Steps of a stage at most.
        seed: Of initialisation and sampling.
        loss_weights: See ``LossWeights``.

    Raises:
        InputError: A value is out of its range; the message names the option.
    """

    k: int = 4
    dim: int = 64
    max_len: int = 100
    temperature: float = 0.1
    batch_size: int = 256
    n_negatives: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    averaging: float = 0.998
    eval_every: int = 200
    patience: int = 5
    max_steps: int = 100_000
    seed: int = 0
    loss_weights: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:  # NaN is not, either
                raise InputError(f"{_option(name)} is {value}; expected at least {least}")
        for name, value in self._numbers():
            most = MAX_SEED if name == "seed" else MAX_VALUE
            if not value <= most:
                raise InputError(f"{_option(name)} is {value}; expected at most {most}")
        if self.k > self.dim:
            raise InputError(
                f"--k is {self.k}, --dim is {self.dim}; at most dim hyper-categories can be "
                "orthogonal"
            )
        if not 0 <= self.averaging < 1:
            raise InputError(
                f"--averaging is {self.averaging}; expected 0 or more, and less than 1"
            )
        for name in ("temperature", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{_option(name)} is {getattr(self, name)}; expected more than 0")

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    def differences(self, before: dict[str, Any]) -> str:
        """Name the options that are not what they were, for a message.

        Args:
            before: What ``to_dict`` gave then, perhaps by way of JSON.

        Returns:
            Such as "--k is 4, was 8; --seed is 1, was 0"; empty where nothing differs.
        """
        now = self.to_dict()
        changed = [name for name in now if now[name] != before.get(name)]
        return "; ".join(
            f"{_option(name)} is {now[name]}, was {before.get(name)}" for name in changed
        )

    def _numbers(self) -> list[tuple[str, float]]:
        values = {**vars(self), **vars(self.loss_weights)}
        return [(name, value) for name, value in values.items() if isinstance(value, int | float)]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


_LEAST = {
    "k": 1,
    "dim": 1,
    "max_len": 1,
    "batch_size": 1,
    "n_negatives": 1,
    "eval_every": 1,
    "patience": 1,
    "max_steps": 1,
    "seed": 0,
    "weight_decay": 0,
}
