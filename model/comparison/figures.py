"""The figures, as SVG to stand in a page.

Colours are those of Okabe and Ito, which colour-blind people tell apart; markers and line styles
tell the same once more. A model looks the same in every figure. The same numbers give the same
picture.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from model.baselines.names import YARDSTICKS
from model.comparison.item_map import OTHERS, Grouping
from model.comparison.results import Spread, display_name
from model.model_names import TRAINABLE_MODELS

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#000000", "#8a8a8a")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
_DASHES = ("-", "--", "-.", ":")
_GREY = "#c8c8c8"
_YELLOW = "#f0e442"
_MAP_COLOURS = (*_COLOURS[:-1], _YELLOW)  # grey is for others there

_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a dollar sign is one
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def figure_name(kind: str, title: str) -> str:
    """Return a name that is fit for an id; different titles have different ones.

    Args:
        kind: Of the figure.
        title: Of the section that it is in.
    """
    fit = (each if each.isalnum() else f"-{ord(each):x}-" for each in title)
    return f"{kind}-{''.join(fit)}"


class Panel(NamedTuple):
    """Lines over a common axis.

    Attributes:
        label: Of the upright axis.
        lines: By model, x to what was measured there.
    """

    label: str
    lines: Mapping[str, Mapping[float, Spread]]


@mpl.rc_context(_SETTINGS)
def draw_study(name: str, panels: Sequence[Panel]) -> str:
    """Draw measures against k, in one panel each."""
    canvas, axes = _canvas(len(panels), width=4.4, beside=_LEGEND)
    for panel, plot in zip(panels, axes, strict=True):
        ks = sorted({k for line in panel.lines.values() for k in line})
        for model, line in panel.lines.items():
            x = sorted(line)
            errors = [line[k].std or 0.0 for k in x]
            plot.errorbar(x, [line[k].mean for k in x], errors, capsize=3, **_look(model))
        plot.set_xscale("log", base=2)
        plot.set_xticks(ks, [f"{k:g}" for k in ks])
        plot.xaxis.set_minor_locator(NullLocator())
        plot.set_xlabel("k, interests per user")
        plot.set_ylabel(panel.label)
    _legend(canvas, axes[0])
    return _svg(canvas, name)


class Paths(NamedTuple):
    """Points of models, joined.

    Attributes:
        label: Of the upright axis.
        points: By model: Recall@50 and what was measured there, from the model as it is on.
    """

    label: str
    points: Mapping[str, Sequence[tuple[float, float]]]


@mpl.rc_context(_SETTINGS)
def draw_trade_off(name: str, panels: Sequence[Paths]) -> str:
    """Draw a large point for each model, and a line to its other points. x is Recall@50."""
    canvas, axes = _canvas(len(panels), width=5.2, height=4.6, beside=_LEGEND)
    for panel, plot in zip(panels, axes, strict=True):
        for model, points in panel.points.items():
            look = _look(model)
            x, y = zip(*points, strict=True)
            plot.plot([], [], **look)  # for the legend
            plot.plot(x[:1], y[:1], **{**look, "label": None, "linestyle": "", "markersize": 10})
            plot.plot(x, y, **{**look, "label": None, "markersize": 5})
        plot.set_xlabel("Recall@50 (fraction)")
        plot.set_ylabel(panel.label)
    _legend(canvas, axes[0])
    return _svg(canvas, name)


class Curve(NamedTuple):
    """A training.

    Attributes:
        points: Step and validation Recall@50.
        begins: The steps after which stages but the first begin.
    """

    points: Sequence[tuple[int, float]]
    begins: Sequence[int] = ()


@mpl.rc_context(_SETTINGS)
def draw_curves(name: str, curves: Mapping[str, Curve]) -> str:
    """Draw a line for each model; upright lines where its later stages begin."""
    canvas, (plot,) = _canvas(1, width=8)
    for model, curve in curves.items():
        steps, values = zip(*curve.points, strict=True)
        look = _look(model, every=max(1, len(steps) // 8))
        plot.plot(steps, values, **look)
        for step in curve.begins:
            plot.axvline(step, color=look["color"], linestyle=":", linewidth=1.2)
    plot.set_xlabel("training step")
    plot.set_ylabel("validation Recall@50 (fraction)")
    _legend(canvas, plot)
    return _svg(canvas, name)


@mpl.rc_context(_SETTINGS)
def draw_shares(name: str, shares: Mapping[str, Sequence[float]]) -> str:
    """Draw a bar for each model, in pieces: the share of each interest, largest first."""
    canvas, (plot,) = _canvas(1, width=9, height=0.9 + 0.42 * len(shares))
    for place, values in enumerate(shares.values()):
        begin = 0.0
        for number, share in enumerate(sorted(values, reverse=True)):
            shade = _COLOURS[0] if number % 2 == 0 else _COLOURS[5]
            plot.barh(place, share, left=begin, color=shade, edgecolor="white", height=0.7)
            if share >= _LABELLED_SHARE:
                plot.text(
                    begin + share / 2,
                    place,
                    f"{100 * share:.0f} %",
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if number % 2 == 0 else "black",
                )
            begin += share
    plot.set_yticks(range(len(shares)), list(shares))
    plot.invert_yaxis()
    plot.grid(visible=False)
    plot.set_xlim(0, 1)
    plot.set_xlabel("share of interactions (fraction)")
    plot.set_ylabel("model")
    return _svg(canvas, name)


_LABELLED_SHARE = 0.05


@mpl.rc_context(_SETTINGS)
def draw_map(name: str, places: NDArray[np.float64], groupings: Mapping[str, Grouping]) -> str:
    """Draw the same places once for each grouping, coloured by it."""
    canvas, axes = _canvas(len(groupings), width=6.2, height=4.6)
    x, y = places.T
    for (title, grouping), plot in zip(groupings.items(), axes, strict=True):
        rest = grouping.group == OTHERS
        if rest.any():
            plot.scatter(x[rest], y[rest], s=5, color=_GREY, label="others", rasterized=True)
        for number, label in enumerate(grouping.names):
            chosen = grouping.group == number
            plot.scatter(
                x[chosen],
                y[chosen],
                s=11,
                color=(colour := _MAP_COLOURS[number % len(_MAP_COLOURS)]),
                marker=_MARKERS[(number + number // len(_MAP_COLOURS)) % len(_MARKERS)],
                linewidths=0.4 if colour == _YELLOW else 0,  # too light without an edge
                edgecolors="#333333",
                label=_shorten(label),
                rasterized=True,
            )
        plot.set_title(title, fontsize=11)
        plot.set_xlabel("t-SNE 1 (no unit)")
        plot.set_ylabel("t-SNE 2 (no unit)")
        plot.set_xticks([])
        plot.set_yticks([])
        plot.legend(loc="upper left", bbox_to_anchor=(1.01, 1), markerscale=1.8, fontsize=9)
    return _svg(canvas, name)


_LONGEST_LABEL = 24


def _shorten(label: str) -> str:
    label = "".join(each if each.isprintable() else " " for each in label)  # XML knows not all
    short = label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
    return "\u2009" + short  # labels that begin with an underscore would be hidden


_LEGEND = 2.2  # inches


def _canvas(
    n_panels: int, *, width: float, height: float = 3.6, beside: float = 0.0
) -> tuple[Canvas, list[Axes]]:
    """Make a canvas with panels side by side.

    Args:
        n_panels: How many.
        width: Of one panel, in inches.
        height: Of all, in inches.
        beside: Room on the right of all of them, in inches.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.12)
    canvas = Canvas(figsize=(width * n_panels + beside, height), layout=layout)
    return canvas, [canvas.add_subplot(1, n_panels, number + 1) for number in range(n_panels)]


def _look(model: str, *, every: int = 1) -> dict[str, Any]:
    """Return a model's colour, marker and line; a marker at every so many points."""
    names = (*TRAINABLE_MODELS, *YARDSTICKS)
    place = names.index(model)
    return {
        "label": display_name(model),
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "linestyle": _DASHES[(place + place // len(_COLOURS)) % len(_DASHES)],
        "markevery": every,
        "markersize": 6,
        "linewidth": 2.4 if place == 0 else 1.5,
        "zorder": 3 if place == 0 else 2,
    }


def _legend(canvas: Canvas, plot: Axes) -> None:
    handles, labels = plot.get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside right upper")


def _svg(canvas: Canvas, name: str) -> str:
    """Return the picture as an element of a page, its ids prefixed: a page holds several."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with mpl.rc_context({"svg.hashsalt": name}):
        canvas.savefig(buffer, format="svg", metadata=nothing, dpi=150)
    root = ElementTree.fromstring(buffer.getvalue())
    for element in root.iter():
        for attribute, value in element.attrib.items():
            element.set(attribute, _prefixed(attribute, value, name))
    for space, uri in _NAMESPACES.items():
        ElementTree.register_namespace(space, uri)
    return ElementTree.tostring(root, encoding="unicode")


_NAMESPACES = {"": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}


def _prefixed(attribute: str, value: str, name: str) -> str:
    """Return an attribute's value with the picture's name before its ids."""
    if attribute == "id":
        return f"{name}-{value}"
    if attribute.endswith("href"):
        return f"#{name}-{value[1:]}" if value.startswith("#") else value
    return value.replace("url(#", f"url(#{name}-")
