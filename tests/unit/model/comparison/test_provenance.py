"""Which program and processor cells come from."""

import json
from typing import Any

from model.comparison.cell import MEASURES_FILE
from model.comparison.markdown import write_markdown
from model.comparison.page import write_page
from model.comparison.plan import Plan
from model.comparison.summary import Summary
from tests.comparisons import finish, finish_all


def revised(trained: str | None, measured: str = "c" * 40, *, on: str = "a CPU") -> dict[str, Any]:
    return {"revisions": {"trained": trained, "measured": measured}, "device": on}


def test_it_is_said_which_program_made_the_cells(plan: Plan) -> None:
    for cell in plan.cells:
        finish(cell, 0.3, **revised("a" * 40))

    report = Summary(plan).report()

    assert report.sections[1].paragraphs[1:4] == [
        "All trained by aaaaaaa.",
        "All measured by ccccccc.",
        "All trained on a CPU.",
    ]
    result = Summary(plan).document()["results"][0]
    assert result["devices"] == {"seed-0": "a CPU", "seed-1": "a CPU"}
    assert result["revisions"]["seed-1"] == {"trained": "a" * 40, "measured": "c" * 40}


def test_cells_of_several_programs_are_told_apart(plan: Plan) -> None:
    by_model: dict[str, str | None] = {"opal": "a" * 40, "mind": "b" * 40, "pop": None}
    for cell in plan.cells:
        if cell.model in by_model:
            finish(cell, 0.3, **revised(by_model[cell.model]))
    finish(plan.cells[1], 0.3, **revised("b" * 40))  # OPAL, seed 1

    report = Summary(plan).report()

    assert report.sections[1].paragraphs[1:3] == [
        "Not all trained by one revision of this program. By aaaaaaa: opal (seed 0). "
        "By bbbbbbb: opal (seed 1); mind. By an unknown revision: pop.",
        "All measured by ccccccc.",
    ]
    assert "aaaaaaa, an unknown revision, bbbbbbb, ccccccc" in report.paragraphs[1]
    for text in (write_page(report), write_markdown(report, "report.html")):
        assert "By bbbbbbb: opal (seed 1); mind." in text


def test_cells_of_several_processors_are_told_apart(plan: Plan) -> None:
    for cell in plan.cells:
        if cell.model in ("opal", "mind"):
            on = "an H100" if cell.model == "mind" else "a CPU"
            finish(cell, 0.3, **revised("a" * 40, on=on))
    path = plan.cells[0].folder / MEASURES_FILE
    measures = json.loads(path.read_text())
    del measures["device"]  # as earlier programs have written it
    path.write_text(json.dumps(measures))

    report = Summary(plan).report()

    assert report.sections[1].paragraphs[3] == (
        "Not all trained on one processor. On an unknown processor: opal (seed 0). "
        "On a CPU: opal (seed 1). On an H100: mind."
    )
    assert "they ran on a CPU, an H100, an unknown processor." in report.paragraphs[-1]


def test_what_trained_and_measured_all_alike_is_said_once(plan: Plan) -> None:
    for cell in plan.cells:
        finish(cell, 0.3, **revised("a" * 40, "a" * 40))

    paragraphs = Summary(plan).report().sections[1].paragraphs

    assert paragraphs[1:3] == ["All trained and measured by aaaaaaa.", "All trained on a CPU."]


def test_of_processors_that_nobody_noted_nothing_is_said(plan: Plan) -> None:
    finish_all(plan, opal=0.3, mind=0.29)

    report = Summary(plan).report()

    assert "unknown processor" not in " ".join([*report.paragraphs, *report.sections[1].paragraphs])
