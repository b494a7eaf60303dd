"""The part of the report on one data set and recipe: all models as they are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model.comparison.captions import (
    ARROWS,
    DISTANCES,
    EQUAL_RECALL,
    INTERVALS,
    MEASURES,
    PROTOCOL,
    RECONSTRUCTION,
    VARIED,
    say_tiny_catalog,
)
from model.comparison.captions import COST as COST_CAPTION
from model.comparison.cell import RUN_FOLDER
from model.comparison.document import Figure, Section, Table
from model.comparison.equal_recall import path_of, table_at_equal_recall
from model.comparison.figures import (
    Curve,
    Paths,
    draw_curves,
    draw_map,
    draw_shares,
    draw_trade_off,
    figure_name,
)
from model.comparison.item_map import (
    group_by_category,
    group_by_direction,
    place_items,
    reason_against_map,
)
from model.comparison.provenance import say_origins
from model.comparison.results import RECONSTRUCTED, Against, Result, display_name, kind_of
from model.comparison.tables import ACCURACY, COST, LISTS, table_against, table_of_results
from model.errors import InputError
from model.inference.loading import load_encoder
from model.model_names import OPAL
from model.run import read_run

_FAR_OFF = ("pop",)
"""Models that would press all others together where Recall@50 is an axis."""


@dataclass(frozen=True)
class MainSection:
    """What one data set and recipe show.

    Attributes:
        title: Data set and recipe.
        facts: A sentence on the data set.
        n_items: Items of its catalog.
        incomplete: Which models have fewer seeds than were asked for; empty: none.
        results: Of all models.
        against: OPAL against each of the others.
    """

    title: str
    facts: str
    n_items: int
    incomplete: Sequence[str]
    results: Sequence[Result]
    against: Sequence[Against]

    def section(self) -> Section:
        """Return tables and figures."""
        if not self.results:
            return Section(self.title, [self._facts, "Nothing is finished yet."])
        item_map = self._map()
        parts = list(self._parts())
        paragraphs = [self._facts, *say_origins(self.results)]
        if isinstance(item_map, Figure):
            parts.append(item_map)
        elif item_map:
            paragraphs.append(f"There is no map of OPAL's items: {item_map}.")
        return Section(self.title, paragraphs, parts)

    @property
    def _facts(self) -> str:
        return " ".join([self.facts, *self.incomplete])

    def _parts(self) -> Iterator[Table | Figure]:
        results, of_data = self.results, self._of_data
        better = "Larger is better; the best stands out."
        yield table_of_results("Accuracy", f"{of_data} {PROTOCOL} {better}", ACCURACY, results)
        if self.against:
            caption = " ".join([of_data, INTERVALS, *self.incomplete])
            yield table_against("OPAL against each", caption, self.against)
        caption = f"{of_data} {MEASURES} {ARROWS}"
        yield table_of_results("Diversity, breadth, popularity", caption, LISTS, results)
        yield from self._trade_off()
        yield table_of_results("Cost", f"{of_data} {COST_CAPTION}", COST, results)
        yield from self._curves()
        yield from self._shares()

    @property
    def _of_data(self) -> str:
        n_users = self.results[0].measures[0]["test"]["users"]
        words = [f"{self.title}, {n_users:,} users.", *say_tiny_catalog(self.n_items)]
        if any(result.model in RECONSTRUCTED for result in self.results):
            words.append(RECONSTRUCTION)
        return " ".join(words)

    def _trade_off(self) -> Iterator[Table | Figure]:
        distances = known_distances(self.results)
        panels = [
            Paths(
                label,
                {
                    result.model: points
                    for result in self.results
                    if result.model not in _FAR_OFF and (points := path_of(result, name))
                },
            )
            for name, label in distances
        ]
        if not any(panel.points for panel in panels):  # nobody to measure
            return
        yield Figure(
            "Diversity against Recall@50",
            f"{self._of_data} A large point is a model as it is, averaged over seeds; along its "
            f"line, {VARIED} Right: more hits; up: more diverse lists of 50. What is both further "
            "right and further up is better. What is most popular, far to the left, is "
            "left out.",
            draw_trade_off(figure_name("trade-off", self.title), panels),
        )
        caption = (
            f"{self._of_data} {EQUAL_RECALL} As above, {VARIED} The more diverse one stands out."
        )
        yield from table_at_equal_recall(caption, self.results, distances)

    def _curves(self) -> Iterator[Figure]:
        curves = {
            result.model: curve
            for result in self.results
            if (curve := _curve(result.measures[0].get("curve", []))).points
        }
        if curves:
            yield Figure(
                "Training curves",
                f"{self._of_data} Validation Recall@50 of the first seed by step; the steps of a "
                "model's stages one after the other. Higher is better. A stage ends when "
                "validation has not gained for as long as patience lasts, or with its last step. "
                "Upright lines: a later stage begins.",
                draw_curves(figure_name("curves", self.title), curves),
            )

    def _shares(self) -> Iterator[Figure]:
        shares = {
            display_name(result.model): interests["shares"]
            for result in self.results
            if kind_of(result.model) == "multi-interest"
            and (interests := result.measures[0].get("interests"))
        }
        if shares:
            yield Figure(
                "Share of interactions per interest",
                f"{self._of_data} First seed, the interactions of test users' histories, each with "
                "the interest that holds most of it; OPAL's are its hyper-categories. Largest "
                "first. One long piece: the interests have collapsed into one.",
                draw_shares(figure_name("shares", self.title), shares),
            )

    def _map(self) -> Figure | str:
        """Return the map of OPAL's items, or why there is none; empty without OPAL."""
        ours = next((result for result in self.results if result.model == OPAL), None)
        if ours is None:
            return ""
        try:
            run = read_run(ours.cells[0].folder / RUN_FOLDER)
            encoder = load_encoder(run.encoder_path)
        except InputError as error:
            return str(error)
        assert encoder.hyper_categories is not None  # OPAL has them
        if reason := reason_against_map(encoder.item_vectors):
            return reason
        groupings = {
            "by hyper-category": group_by_direction(encoder.item_vectors, encoder.hyper_categories)
        }
        by_category = group_by_category(run.items["category"])
        if by_category is None:
            note = "The data have no categories to set beside them."
        else:
            groupings["by first category"] = by_category
            note = "Right: the same places by first category, of which the 8 most frequent."
        places = place_items(encoder.item_vectors)
        return Figure(
            "Items by hyper-category",
            f"{self._of_data} OPAL's item vectors, first seed: the {len(places):,} most popular "
            "items, placed by t-SNE. Left: by the hyper-category that they point along most. "
            f"{note} Hyper-categories that form regions of their own tell items apart.",
            draw_map(figure_name("map", self.title), places, groupings),
        )


def known_distances(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return names and labels of those ``DISTANCES`` that any of the results has."""
    return [
        (name, label)
        for name, label in DISTANCES
        if any(name in result.values for result in results)
    ]


def _curve(validations: Sequence[Mapping[str, Any]]) -> Curve:
    """Join the stages of a training: the steps of a later one are counted on."""
    points: list[tuple[int, float]] = []
    begins = [0]
    stage = None
    for each in validations:
        if stage not in (None, each["stage"]):
            begins.append(points[-1][0])
        stage = each["stage"]
        points.append((begins[-1] + each["step"], each["valid_recall@50"]))
    return Curve(points, begins[1:])
