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
    "popularity": 0.0,
    "batch_size": 1024,
    "start": "random",
    "positives": "one",
    "horizon": 1.0,
    "min_cut": 3,
    "cut_draws": 1,
    "neighbours": 0.0,
    "history_dropout": 0.0,
    "negatives": "even",
    "learn_temperature": False,
    "assignment_temperature": 0.1,
    "sharing": 0.0,
    "learn_recency": False,
    "evolution": 0.5,
    "learn_evolution": False,
    "general": 0.0,
    "fine_tuning_rate": 1.0,
    "weight_decay": 1e-4,
    "averaging": 0.0,
    "eval_every": 1000,
}

# The common practice of the rivals' papers: one item is predicted of what lies before it, by
# plain inner products of vectors of any length, learned from a random start.
_RIVAL: dict[str, Any] = {
    "dim": 64,
    "max_len": 50,
    "popularity": 0.0,
    "batch_size": 1024,
    "start": "random",
    "positives": "next",
    "min_cut": 4,
    "cut_draws": 1,
    "neighbours": 0.0,
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

# Liu et al., SIGIR 2020: its values were not at hand; those of ComiRec, which it competes with.
_OCTOPUS = _COMIREC

# Ma et al., KDD 2020, as a public program runs it (github.com/abis330/DSSRec): scores are inner
# products over √d, 4 intentions, the next item beside the whole future, no regularisation but
# dropout (0.5); the sampled softmax of the paper with as many negatives as sequences.
_DSSREC: dict[str, Any] = {
    **_MULTI_INTEREST,
    "next_item": 0.0,
    "batch_size": 256,
    "positives": "horizon",
    "horizon": 1.0,
    "min_cut": 1,
    "negatives": "popular",
    "n_negatives": 256,
    "temperature": 8.0,
}

# arXiv 2205.09593, as its authors ran it (github.com/libeibei95/CMI): one item drawn from all
# after the cut, unit vectors, τ = 0.1 for all, B even negatives, weight decay 1e-4, patience 10.
_CMI: dict[str, Any] = {
    **_MULTI_INTEREST,
    "next_item": 0.0,
    "k": 8,
    "max_len": 100,
    "positives": "one",
    "min_cut": 6,
    "temperature": 0.1,
    "unit_vectors": True,
    "attention": False,
    "weight_decay": 1e-4,
    "patience": 10,
}

# arXiv 1511.06939, table 2, cross-entropy on RSC15: 100 units, batches of 500, no dropout;
# negatives are the other items of the batch, and so by popularity. Its step size, 0.01, is that of
# Adagrad; here it is Adam's. Trained after each interaction; sessions are not cut.
_GRU4REC: dict[str, Any] = {
    **_RIVAL,
    "dim": 100,
    "max_len": 100,
    "batch_size": 500,
    "min_cut": 1,
    "negatives": "popular",
    "n_negatives": 500,
}

# arXiv 1808.09781, section IV.D, and the defaults of its authors' program
# (github.com/kang205/SASRec): d = 50, batches of 128, L = 50 (200 on MovieLens-1M), Adam's step
# 0.001, dropout 0.5, no other regularisation. Its loss draws a negative for each position itself.
_SASREC: dict[str, Any] = {**_RIVAL, "dim": 50, "max_len": 50, "batch_size": 128, "min_cut": 1}

PAPER_RECIPES: Mapping[str, Mapping[str, Any]] = {
    "opal": _OPAL,
    "octopus": _OCTOPUS,
    "mind": _COMIREC,
    "comirec-dr": _COMIREC_DR,
    "comirec-sa": _COMIREC,
    "dssrec": _DSSREC,
    "cmi": _CMI,
    "gru4rec": _GRU4REC,
    "sasrec": _SASREC,
}
"""By model; values of options of ``train``, with the names of ``TrainingConfig``'s fields."""

OWN_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    # Both halves of a history predict already: to drop half of it before would leave quarters, and
    # cost 0.005 to 0.009 of validation Recall@50 on Last.fm and MovieLens 100K.
    "cmi": {"history_dropout": 0.0},
}
"""By model; where the recipe ``default`` would do twice what a model does by itself."""
