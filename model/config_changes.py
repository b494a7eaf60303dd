"""Whether two trainings are told the same, one of them perhaps by an earlier version."""

from typing import Any

from model.model_names import OPAL
from model.options import given, option_name

# What those of an earlier version, which do not say it, were trained with.
_BEFORE = {"model": OPAL, "unit_vectors": True, "general": 0.0}
_NEXT_ITEM_BEFORE = {"gru4rec": 1.0, "sasrec": 1.0}  # of the others 0
_GENERAL_LEN_BEFORE = 20


def name_changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Name the options that are not what they were; see ``TrainingConfig.differences``."""
    before = {**_BEFORE, **before}
    before.setdefault("next_item", _NEXT_ITEM_BEFORE.get(str(before["model"]), 0.0))
    if before["general"]:
        before.setdefault("general_len", _GENERAL_LEN_BEFORE)
    before, now = _without_idle_bound(before), _without_idle_bound(now)
    changed = [name for name in now if now[name] != before.get(name)]
    return "; ".join(
        f"{option_name(name)} is {given(now[name])}, was {given(before.get(name))}"
        for name in changed
    )


def _without_idle_bound(options: dict[str, Any]) -> dict[str, Any]:
    """Leave out how far back the general interest reads where no history that counts is longer."""
    longest, bound = options.get("max_len"), options.get("general_len")
    if isinstance(longest, int) and isinstance(bound, int) and bound >= longest:
        return {**options, "general_len": None}
    return options
