"""``report.html``: what a person wants to know of a bundle, in one self-contained page."""

from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from index.bundles.charts import make_charts, make_recall_chart
from index.bundles.probes import Probes
from index.kinds.implementations import implementation_of
from model.arrays import Rows
from model.inference.encoder import UserEncoder
from model.run import Run

TEMPLATES = Path(__file__).parent / "templates"
STRONGEST = 8
EXAMPLES = 5
SHOWN = 10


def render_report(run: Run, encoder: UserEncoder, probes: Probes, content: dict[str, Any]) -> str:
    """Render the report.

    Args:
        run: The run: items, metrics, training curve.
        encoder: Its encoder.
        probes: Histories and exact answers, of which some are shown with titles.
        content: The manifest so far.

    Returns:
        HTML that loads nothing from elsewhere; everything from the data is escaped.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    titles = _titles(run)
    # Only the report shows them: they say nothing of what the bundle serves.
    yardsticks = run.manifest.get("yardsticks", {})
    return environment.get_template("report.html.j2").render(
        content=content,
        dataset_name=content["dataset"].get("name") or content["dataset"].get("source", "a log"),
        facts=_facts(content),
        models=[content["model"]["name"], *yardsticks],
        metrics=_metric_rows([content["metrics"], *yardsticks.values()]),
        left_out=run.manifest.get("yardsticks_left_out", {}),
        charts=make_charts(run.manifest.get("curve", [])),
        operating_points=_operating_points(content["index"]),
        recall_chart=make_recall_chart(content["index"]["curve"], content["index"]["parameters"]),
        n_interests=encoder.n_interests,
        hyper_categories=_hyper_categories(run, encoder, titles),
        examples=[
            _example(probes, number, encoder, titles)
            for number in range(min(EXAMPLES, len(probes.lengths)))
        ],
        shown=SHOWN,
    )


def _titles(run: Run) -> list[str]:
    """A text for a person, by item row: the title, or else the id."""
    pairs = zip(run.items["title"].to_list(), run.items["item_id"].to_list(), strict=True)
    return [title or item_id for title, item_id in pairs]


def _facts(content: dict[str, Any]) -> dict[str, str]:
    """Make the rows of the first table."""
    dataset, index = content["dataset"], content["index"]
    words = implementation_of(index["kind"]).words
    return {
        "model": f"{content['model']['name']}, {content['model']['stage']} stage",
        "data": ", ".join(f"{k}: {v}" for k, v in dataset.items() if k != "path"),
        "index": f"{index['kind']} ({words} {index['factory']}), {index['metric']}",
        "operating point": _in_words(index["parameters"]) or "none to choose",
        "bytes per item": f"{index['bytes_per_item']:.0f}",
        "recall@100 of the index": (
            f"{index['measured_recall']:.4f} of the exact answers on real interests "
            f"(promised: {index['target_recall']})"
        ),
        "git revision": content["git_revision"] or "unknown",
    }


def _operating_points(index: dict[str, Any]) -> list[dict[str, str | bool]]:
    """Describe the operating points of the index, each beside the exact search."""
    return [
        {
            "parameters": _in_words(point["parameters"]) or "exact",
            "recall": f"{point['recall']:.4f}",
            "milliseconds": f"{point['milliseconds']:.3f}",
            "ratio": f"{index['flat_milliseconds'] / point['milliseconds']:.1f}",
            "is_chosen": point["parameters"] == index["parameters"],
        }
        for point in index["curve"]
    ]


def _in_words(parameters: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in parameters.items())


def _metric_rows(models: list[dict[str, dict[str, float]]]) -> list[tuple[str, list[str]]]:
    """Make rows of metric and, model after model, validation and test."""
    columns = [model.get(part, {}) for model in models for part in ("valid", "test")]

    def shown(value: float | str) -> str:
        return f"{value:.4f}" if isinstance(value, float) else str(value)

    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [shown(column.get(name, "–")) for column in columns]) for name in names]


def _hyper_categories(run: Run, encoder: UserEncoder, titles: list[str]) -> list[dict[str, Any]]:
    """Describe every hyper-category by its items; [] where the model has none."""
    if encoder.hyper_categories is None:
        return []
    vectors = encoder.history_vectors(np.arange(len(encoder.item_vectors)))
    closeness = vectors @ encoder.hyper_categories.T
    belongs_to = closeness.argmax(axis=1)
    interactions = run.items["interactions"].fill_null(0).to_numpy().astype(np.float64)
    total = max(float(interactions.sum()), 1.0)
    described = []
    for number in range(encoder.n_interests):
        members = np.flatnonzero(belongs_to == number)
        strongest = members[np.argsort(-closeness[members, number], kind="stable")[:STRONGEST]]
        described.append(
            {
                "size": len(members),
                "percent": f"{100 * interactions[members].sum() / total:.1f}",
                "strongest": [titles[row] for row in strongest],
            }
        )
    return described


def _example(
    probes: Probes, number: int, encoder: UserEncoder, titles: list[str]
) -> dict[str, Any]:
    """Describe one probe by titles."""
    history: Rows = probes.history(number)
    new = np.flatnonzero(~np.isin(probes.rows[number], history))[:SHOWN]
    rows = probes.rows[number][new]
    interests = (encoder.item_vectors[rows] @ probes.interests[number].T).argmax(axis=1)
    return {
        "history": [titles[row] for row in history[-SHOWN:]],
        "answers": [
            {"title": titles[row], "score": f"{score:.3f}", "interest": int(interest)}
            for row, score, interest in zip(
                rows, probes.scores[number][new], interests, strict=True
            )
        ],
    }
