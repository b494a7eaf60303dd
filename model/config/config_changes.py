"""Whether two trainings are told the same, one of them perhaps by an earlier version."""

from typing import Any

from model.config.options import option_name, option_text
from model.model_names import OPAL

# What those of an earlier version, which do not say it, were trained with.
_BEFORE = {
    "model": OPAL,
    "unit_vectors": True,
    "general": 0.0,
    "attention": False,
    "fine_tuning_rate": 1.0,
    "popularity": 0.0,
    "cut_draws": 1,
    "neighbours": 0.0,
}
_NEXT_ITEM_BEFORE = {"gru4rec": 1.0, "sasrec": 1.0}  # of the others 0
_GENERAL_LEN_BEFORE = 20


def name_changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Name the options that are not what they were, for a message.

    Args:
        before: What ``TrainingConfig.to_dict`` gave then, perhaps by way of JSON.
        now: What it gives now.

    Returns:
        Such as "--k is 4, was 8; --seed is 1, was 0"; empty where nothing differs.
    """
    before = {**_BEFORE, **before}
    before.setdefault("next_item", _NEXT_ITEM_BEFORE.get(str(before["model"]), 0.0))
    if before["general"]:
        before.setdefault("general_len", _GENERAL_LEN_BEFORE)
    changed = [name for name in now if now[name] != before.get(name)]
    if not now["unit_vectors"]:
        changed = [name for name in changed if name != "popularity"]  # their lengths are learned
    if _general_reads_all(before) and _general_reads_all(now):
        changed = [name for name in changed if name != "general_len"]
    return "; ".join(
        f"{option_name(name)} is {option_text(now[name])}, was {option_text(before.get(name))}"
        for name in changed
    )


def _general_reads_all(options: dict[str, Any]) -> bool:
    """Whether no history that counts is longer than what the general interest reads."""
    longest, bound = options.get("max_len"), options.get("general_len")
    return bound is None or (
        isinstance(longest, int) and isinstance(bound, int) and bound >= longest
    )
