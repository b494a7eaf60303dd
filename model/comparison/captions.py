"""What captions say alike: by which protocol, and what a measure means."""

from model.comparison.varied_lists import DIVERSITIES, LENGTH, SOME_USERS
from model.marginal_relevance import pool_size

_CUTOFFS = (10, 20, 50)

PROTOCOL = (
    "Test part, full ranking of the catalog by exact search, without what the user has had; users "
    "averaged; mean ± standard deviation over seeds."
)
INTERVALS = (
    "Difference of each user's metric, averaged over seeds; 95 % percentile interval of 10,000 "
    "resamples of the users. Ahead, behind: the interval excludes 0."
)
MEASURES = (
    "Of each user's 50 best: ILD, the mean distance (1 − cosine) of pairs of items, by category "
    "vectors and by co-occurrence vectors of the training part, which no compared model made; "
    "category coverage, the share of all categories; pairwise PMI, the mean positive pointwise "
    "mutual information of pairs (nats). Catalog coverage: the share of the catalog in anybody's "
    "list. Log popularity: the mean natural logarithm of training interactions. Distinct "
    "interests: how many of the k a user has on average, where those not in use are copies of "
    "others. Of a user's distinct interests: mean cosine of pairs, and mean Jaccard overlap of "
    "their own 50 best, over users with two at least."
)
COST = (
    "Seconds of a training, its validations and its own last evaluation of all users, one thread, "
    "over all its interruptions; parameters: numbers in the served encoder. Found on validation: "
    "L, interactions of a history that count, and β, the exponent of popularity in scores."
)
OVERLAP = "Overlap: of the pairs of a user's distinct interests, where there are two at least."
RECONSTRUCTION = (
    "Octopus is reconstructed from summaries: its paper's text could not be read, and what stands "
    "here says little of the published model."
)
VARIED = (
    f"lists of {LENGTH} are chosen from the {pool_size(LENGTH)} best items for more and more "
    f"variety, as the service does for a diversity of 0.1, 0.2, … {DIVERSITIES[-1]} (maximal "
    f"marginal relevance); {SOME_USERS:,} users at most."
)
EQUAL_RECALL = (
    "OPAL's lists and another model's, both chosen for as much variety as leaves them the same "
    "Recall@50: first that of the one of them that is less right as it is, then nine tenths of it. "
    "Between two measured points on a straight line; a line that ends before counts with its end. "
    "Without intervals: what differs little is level."
)
ARROWS = "Arrows say which way is better."

DISTANCES = (
    ("ild_cooccurrence@50", "ILD@50, co-occurrence (1 − cosine)"),
    ("ild_category@50", "ILD@50, categories (1 − cosine)"),
)
"""Measures of diversity that are drawn, and what stands at their axis."""


def say_tiny_catalog(n_items: int) -> list[str]:
    """Warn where a list of 50 holds the whole catalog; empty where it does not.

    Args:
        n_items: Items of the catalog.
    """
    all_found = [f"Recall@{cutoff}" for cutoff in _CUTOFFS if n_items <= cutoff]
    if not all_found:
        return []
    what = f"{', '.join(all_found)} {'is' if len(all_found) == 1 else 'are'} 1 for all models"
    return [f"The catalog has {n_items} items, so that {what} and all users: it tells nothing."]
