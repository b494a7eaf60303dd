"""Pictures: the same for the same numbers, their text as text."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from model.comparison.figures import (
    Curve,
    Panel,
    Paths,
    draw_curves,
    draw_map,
    draw_shares,
    draw_study,
    draw_trade_off,
    figure_name,
)
from model.comparison.item_map import OTHERS, Grouping
from model.comparison.results import Spread
from model.model_names import TRAINABLE_MODELS

LINES: dict[str, dict[float, Spread]] = {
    "opal": {1: Spread(0.1, 0.01), 4: Spread(0.2, None)},
    "comirec-sa": {1: Spread(0.2, 0.01), 4: Spread(0.15, 0.02)},
}
PATHS = {"opal": [(0.2, 0.5), (0.2, 0.6), (0.1, 0.7)], "comirec-sa": [(0.15, 0.6)]}
POINTS = [(50, 0.1), (100, 0.2)]
CURVES = {model: Curve(POINTS) for model in TRAINABLE_MODELS}
PLACES = np.random.default_rng(0).normal(size=(30, 2))
MARKUP = 'id="z url(#z'
GROUPS = Grouping(
    ["a$b$ & <c>", "_hidden", "x" * 60, MARKUP, "a\x0bc\ufffe"], np.arange(30) % 6 - 1
)


def all_figures(name: str) -> dict[str, str]:
    panels = [Panel("Recall@50 (fraction)", LINES), Panel("ILD@50", LINES)]
    return {
        "study": draw_study(name, panels),
        "trade-off": draw_trade_off(name, [Paths(panel.label, PATHS) for panel in panels[1:]]),
        "curves": draw_curves(name, {**CURVES, "opal": Curve(POINTS, [50])}),
        "shares": draw_shares(name, {"opal": [0.5, 0.3, 0.2], "mind": [0.98, 0.01, 0.01]}),
        "map": draw_map(name, PLACES, {"by category": GROUPS}),
    }


@pytest.fixture(scope="module")
def figures() -> dict[str, str]:
    return all_figures("one")


def texts(svg: str) -> str:
    return "\n".join(ElementTree.fromstring(svg).itertext())


def test_they_are_repeatable(figures: dict[str, str]) -> None:
    assert all_figures("one") == figures


def test_they_are_well_formed_and_load_nothing(figures: dict[str, str]) -> None:
    for svg in figures.values():
        for element in ElementTree.fromstring(svg).iter():
            for name, value in element.attrib.items():
                if name.endswith("href"):
                    assert value.startswith(("#", "data:"))
        assert not re.search(r"url\((?!#)", svg)


def test_ids_of_two_figures_of_a_page_differ(figures: dict[str, str]) -> None:
    def attributes(svg: str) -> list[tuple[str, str]]:
        elements = ElementTree.fromstring(svg).iter()
        return [each for element in elements for each in element.attrib.items()]

    def ids(svg: str) -> set[str]:
        return {value for name, value in attributes(svg) if name == "id"}

    for svg, other in zip(figures.values(), all_figures("two").values(), strict=True):
        assert ids(svg)
        assert not ids(svg) & ids(other)
        for name, value in attributes(svg):
            used = re.findall(r"url\(#([^)]+)\)", value)
            used += [value[1:]] if name.endswith("href") and value.startswith("#") else []
            assert set(used) <= ids(svg)


def test_what_looks_like_an_id_in_a_category_is_left_alone(figures: dict[str, str]) -> None:
    assert MARKUP in texts(figures["map"])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("study", ["k, interests per user", "Recall@50 (fraction)", "opal", "comirec-sa"]),
        ("trade-off", ["Recall@50 (fraction)", "ILD@50", "opal", "comirec-sa"]),
        ("curves", ["training step", "validation Recall@50 (fraction)", *TRAINABLE_MODELS]),
        ("shares", ["share of interactions (fraction)", "opal", "mind", "98 %", "50 %"]),
        ("map", ["by category", "a$b$ & <c>", "_hidden", "xxx…", "others"]),
    ],
)
def test_axes_and_lines_are_named(figures: dict[str, str], kind: str, words: list[str]) -> None:
    found = texts(figures[kind])

    for word in words:
        assert word in found


def test_models_differ_in_more_than_colour(figures: dict[str, str]) -> None:
    curves = figures["curves"]

    # A legend's lines: colour, dashes; and markers, which are shapes of their own.
    assert len(set(re.findall(r"stroke-dasharray: [^;]+", curves))) >= 3
    markers = re.findall(r'<path id="[^"]+" d="([^"]+)"', curves)
    assert len(set(markers)) >= len(TRAINABLE_MODELS)


def test_a_legend_shows_lines_as_they_are_drawn() -> None:
    drawn = draw_trade_off("one", [Paths("y", {"octopus": [(0.1, 0.5), (0.2, 0.4)]})])

    # The line is not solid: once in the panel, once more in the legend.
    dashes = re.findall(r"stroke-dasharray: ([^;]+)", drawn)
    assert max(map(dashes.count, dashes)) >= 2


def test_where_a_later_stage_begins_there_is_a_line(figures: dict[str, str]) -> None:
    without = draw_curves("one", CURVES)

    assert figures["curves"].count("stroke-dasharray") == without.count("stroke-dasharray") + 1


def test_a_figures_name_is_fit_for_an_id() -> None:
    assert re.fullmatch(r"[\w-]+", figure_name("map", 'a "b", <c>'))


def test_figures_of_different_titles_have_different_names() -> None:
    titles = ["a b", "a-b", "a--b", "a  b", "a-20-b", "ab", "a_b"]

    assert len({figure_name("map", title) for title in titles}) == len(titles)


def test_others_are_shown_in_grey(figures: dict[str, str]) -> None:
    assert (GROUPS.group == OTHERS).any()
    assert "others" in texts(figures["map"])
