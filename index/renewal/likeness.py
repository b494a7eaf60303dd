"""What each new item is like, traced to what a bundle knows; ``cold_items`` makes the vectors.

Of what a new item is said to be like, that counts which comes first: items of the bundle that
``similar_to`` names; other new items that it names, those nearest to the bundle; its categories.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl

from index.bundles.bundle import Bundle
from index.bundles.catalog import Catalog
from index.bundles.probes import Probes
from index.renewal.cold_items import mean_vectors, pulled, stretched
from model.arrays import Floats, Rows
from model.data.items import SIMILAR_TO
from model.errors import InputError

Place = int
"""Of a new item in its table, from 0."""


class Likened(NamedTuple):
    """Vectors of new items.

    Attributes:
        vectors: In the order of their table. Shape (n_new, d), float32.
        lengths: What belongs into the encoder's ``item_lengths``: the mean of what each one is
            made of, or its own length where that is more. Shape (n_new,), float32. None: the
            encoder has none.
        unknown: Ids of ``similar_to`` that neither the bundle nor the table has, each once.
    """

    vectors: Floats
    lengths: Floats | None
    unknown: list[str]


class Origins(NamedTuple):
    """Where the vector of each new item comes from; each one has its place in one of the three.

    Attributes:
        similar: Rows of the bundle's items that it names. Shape (m,), int64.
        categories: The names of its categories, sorted.
        new: Other new items that it names, all of them in one of the three, or here before it.
        unknown: See ``Likened``.
    """

    similar: dict[Place, Rows]
    categories: dict[Place, tuple[str, ...]]
    new: dict[Place, list[Place]]
    unknown: list[str]


def liken(bundle: Bundle, probes: Probes, new: pl.DataFrame, source: str) -> Likened:
    """Make the vectors of new items.

    Args:
        bundle: What is known.
        probes: Its probes: how long a vector must be to be found.
        new: Columns ``item_id``, ``similar_to``, ``category``, as ``read_items`` gives them; none
            is in the bundle.
        source: Where they were read, for messages.

    Raises:
        InputError: Nothing is known of an item.
    """
    catalog, encoder = bundle.catalog, bundle.encoder
    origins = trace(catalog, new, source)
    groups = list(origins.similar.values())
    number_of: dict[tuple[str, ...], int] = {}  # whole categories are averaged once
    for names in origins.categories.values():
        if names not in number_of:
            number_of[names] = len(groups)
            groups.append(_trained(catalog, catalog.rows_in(names)))
    numbers = [
        *range(len(origins.similar)),
        *(number_of[each] for each in origins.categories.values()),
    ]
    means = pulled(mean_vectors(encoder.item_vectors, groups), encoder.hyper_categories)
    first = stretched(
        means[numbers],
        np.arange(len(numbers)) >= len(origins.similar),
        probes.interests,
        probes.scores[:, -1],
        share=len(numbers) / (catalog.n_items + len(numbers)),
        top=probes.rows.shape[1],
        longest=_longest(bundle),
    )
    vectors = np.empty((new.height, encoder.dim), dtype=np.float32)
    vectors[[*origins.similar, *origins.categories]] = first
    lengths = None
    if encoder.item_lengths is not None:
        lengths = np.empty(new.height, dtype=np.float32)
        of_groups = np.array([encoder.item_lengths[rows].mean() for rows in groups])
        lengths[[*origins.similar, *origins.categories]] = of_groups[numbers]
    for place, others in origins.new.items():
        mean = mean_vectors(vectors, [np.array(others)])
        vectors[place] = pulled(mean, encoder.hyper_categories)[0]
        if lengths is not None:
            lengths[place] = lengths[others].mean()
    if lengths is not None:
        # No item counts for more than a trained one in a history, however it was stretched.
        lengths = np.maximum(lengths, np.linalg.norm(vectors, axis=1))
    return Likened(vectors, lengths, origins.unknown)


def trace(catalog: Catalog, new: pl.DataFrame, source: str) -> Origins:
    """Find what each new item goes back to; arguments and errors as of ``liken``."""
    item_ids = new["item_id"].to_list()
    place_of = {item_id: place for place, item_id in enumerate(item_ids)}
    categories = [tuple(sorted(names)) for names in new["category"].to_list()]
    is_known = {names: bool(len(catalog.rows_in(names))) for names in set(categories)}
    origins = Origins({}, {}, {}, [])
    names_new: dict[Place, list[Place]] = {}
    unknown: dict[str, None] = {}
    for place, similar_to in enumerate(new[SIMILAR_TO].to_list()):
        rows = catalog.rows_of(similar_to)
        absent = [each for each, row in zip(similar_to, rows.tolist(), strict=True) if row < 0]
        unknown |= dict.fromkeys(each for each in absent if each not in place_of)
        # That an item is like itself says nothing.
        others = [place_of[each] for each in absent if place_of.get(each, place) != place]
        if len(absent) < len(similar_to):
            origins.similar[place] = rows[rows >= 0]
        elif others:
            names_new[place] = others
        elif is_known[categories[place]]:
            origins.categories[place] = categories[place]
    _follow([*origins.similar, *origins.categories], names_new, origins.new)
    # Those that name none but each other.
    circle = [each for each in names_new if each not in origins.new and is_known[categories[each]]]
    origins.categories.update({each: categories[each] for each in circle})
    for each in circle:
        del names_new[each]
    _follow(circle, names_new, origins.new)
    settled = {*origins.similar, *origins.categories, *origins.new}
    left = [item_id for place, item_id in enumerate(item_ids) if place not in settled]
    if left:
        more = f" (and of {len(left) - 1} more)" if len(left) > 1 else ""
        raise InputError(
            f"{source}: nothing is known of item {left[0]!r}{more}: the bundle has no item of its "
            f"{SIMILAR_TO} or category; name others, or leave it out until the next training"
        )
    return origins._replace(unknown=list(unknown))


def _follow(
    settled: Iterable[Place], names: dict[Place, list[Place]], into: dict[Place, list[Place]]
) -> None:
    """Settle the items that name settled ones, then those that name these, and so on.

    Args:
        settled: Where to begin.
        names: Those to settle, and which new items each one names.
        into: What was settled so, in this order; of what each one names, that which was before it.
    """
    named_by = defaultdict(list)
    for place, others in names.items():
        for other in others:
            named_by[other].append(place)
    layer = [*settled]
    done = {*layer, *into}
    while layer:
        reached = dict.fromkeys(
            each for place in layer for each in named_by[place] if each not in done
        )
        into.update({each: [other for other in names[each] if other in done] for each in reached})
        done.update(reached)
        layer = list(reached)


def _longest(bundle: Bundle) -> float:
    """Return how long the longest trained item vector is."""
    encoder = bundle.encoder
    if encoder.unit_vectors:
        return 1.0
    trained = _trained(bundle.catalog, np.arange(bundle.catalog.n_items))
    return float(np.linalg.norm(encoder.item_vectors[trained], axis=1).max())


def _trained(catalog: Catalog, rows: Rows) -> Rows:
    """Leave out items whose vector is made of others', where that leaves any."""
    trained = rows[~catalog.cold[rows]]
    return trained if len(trained) else rows
