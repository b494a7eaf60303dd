"""Which options say nothing of which model."""

from model.model_names import ATTENTION_MODELS, NEXT_ITEM_MODELS, OPAL

OPAL_ONLY = frozenset(
    {
        "assignment_temperature",
        "sharing",
        "learn_recency",
        "evolution",
        "learn_evolution",
        "general",
        "general_len",
        "fine_tuning_rate",
        "loss_weights",
    }
)
"""Fields that say nothing of other models."""

_OF_SOME = {"attention": ATTENTION_MODELS, "next_item": NEXT_ITEM_MODELS}


def foreign_options(model: str) -> frozenset[str]:
    """Return the fields that say nothing of a model, whatever the others are."""
    of_opal = frozenset() if model == OPAL else OPAL_ONLY
    return of_opal | {name for name, models in _OF_SOME.items() if model not in models}
