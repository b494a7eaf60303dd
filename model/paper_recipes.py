"""What each model's own paper prescribes, or its authors ran: the recipe ``paper``.

No torch here: ``train --help`` reads it. What a paper does not say is as in the default recipe.
"""

from collections.abc import Mapping
from typing import Any

# arXiv 2407.14741, and what its authors ran.
_OPAL: dict[str, Any] = {
    "k": 8,
    "dim": 64,
    "max_len": 100,
    "batch_size": 1024,
    "start": "random",
    "positives": "one",
    "horizon": 1.0,
    "min_cut": 3,
    "history_dropout": 0.0,
    "negatives": "even",
    "learn_temperature": False,
    "assignment_temperature": 0.1,
    "sharing": 0.0,
    "learn_recency": False,
    "evolution": 0.5,
    "learn_evolution": False,
    "weight_decay": 1e-4,
    "eval_every": 1000,
}

# The common practice of the rivals' papers: one item is predicted of what lies before it, by
# plain inner products of vectors of any length, learned from a random start.
_RIVAL: dict[str, Any] = {
    "dim": 64,
    "max_len": 50,
    "batch_size": 1024,
    "start": "random",
    "positives": "next",
    "min_cut": 4,
    "history_dropout": 0.0,
    "negatives": "even",
    "temperature": 1.0,
    "learn_temperature": False,
    "unit_vectors": False,
    "averaging": 0.0,
    "eval_every": 1000,
}

_MULTI_INTEREST: dict[str, Any] = {**_RIVAL, "k": 4}

# What the authors of ComiRec (arXiv 2005.09347) ran, by their published program: sampled softmax
# with 10 shared negatives for each sequence, drawn by popularity and corrected for it; the next
# item, after 4 at least; 50 interactions on Taobao (20 on Amazon Books), batches of 128 on Books
# (256 on Taobao), validation every 1000 steps. MIND (arXiv 1904.08030) is measured beside it by
# the same program with the same values.
_COMIREC: dict[str, Any] = {
    **_MULTI_INTEREST,
    "batch_size": 128,
    "negatives": "popular",
    "n_negatives": 1280,
}

# By the program's instructions this one needs another step size.
_COMIREC_DR: dict[str, Any] = {**_COMIREC, "learning_rate": 5e-3}

# Its paper (Liu et al., SIGIR 2020) is not openly published: values of the paper that came next,
# on the same task and with as many vectors.
_OCTOPUS = _COMIREC

PAPER_RECIPES: Mapping[str, Mapping[str, Any]] = {
    "opal": _OPAL,
    "octopus": _OCTOPUS,
    "mind": _COMIREC,
    "comirec-dr": _COMIREC_DR,
    "comirec-sa": _COMIREC,
    "dssrec": _MULTI_INTEREST,
    "cmi": _MULTI_INTEREST,
    "gru4rec": _RIVAL,
    "sasrec": _RIVAL,
}
"""By model; values of options of ``train``, with the names of ``TrainingConfig``'s fields."""
