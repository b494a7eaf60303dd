"""Finished cells put together."""

from dataclasses import replace

import pytest

from model.comparison.cell import FAILED_FILE, MEASURES_FILE, USERS_FILE
from model.comparison.document import Table, Value
from model.comparison.plan import Plan, make_plan
from model.comparison.results import (
    Spread,
    best_rival,
    compare_with_rivals,
    failures,
    main_results,
    missing,
)
from model.comparison.summary import Summary
from model.comparison.tables import ACCURACY, overview_row, table_of_results
from tests.comparisons import finish, finish_all


def test_means_and_deviations_are_over_seeds(plan: Plan) -> None:
    finish_all(plan, opal=0.3, pop=0.1)

    results = {result.model: result for result in main_results(plan, "dataset", "default")}

    assert list(results) == ["opal", "pop"]
    assert results["opal"].values["recall@50"] == pytest.approx((0.3, 0.02 / 2**0.5))
    assert results["pop"].values["recall@50"] == Spread(0.1, None)
    assert results["opal"].values["cpu"] == Spread(1.0, 0.0)
    assert results["opal"].user_means("recall@50").mean() == pytest.approx(0.3, abs=1e-6)


def varied(*points: tuple[float, float, float | None]) -> list[dict[str, float | None]]:
    names = ("diversity", "recall@50", "ild_cooccurrence@50")
    return [dict(zip(names, point, strict=True)) for point in points]


def test_lists_chosen_for_variety_are_compared_at_equal_recall(plan: Plan) -> None:
    for cell in plan.cells:
        if cell.model == "opal":  # the second seed is as varied, and has less recall
            less = 0.04 * cell.seed
            points = varied((0.0, 0.32 - less, 0.5), (0.1, 0.28 - less, 0.7), (0.2, 0.1, 0.8))
            finish(cell, 0.3, varied=points)
        elif cell.model == "mind":
            finish(cell, 0.28, varied=varied((0.0, 0.28, 0.55), (0.1, 0.2, 0.95)))
        elif cell.model == "sasrec" and cell.seed == 0:
            finish(cell, 0.34, varied=varied((0.0, 0.34, 0.48), (0.1, 0.30, 0.52)))
        elif cell.model == "pop":
            finish(cell, 0.1, varied=varied((0.0, 0.1, None)))
    section = Summary(plan).report().sections[1]
    (table,) = [part for part in section.parts if part.title == "Diversity at equal recall"]

    assert isinstance(table, Table)
    assert table.header == [
        *("model", "Recall@50", "diversity: OPAL's", "its"),
        *("ILD@50, co-occurrence: OPAL's ↑", "its ↑"),
    ]
    assert [[value.text for value in row] for row in table.rows] == [
        ["mind", "0.2800", "0.05", "0.00", "0.6000", "0.5500"],
        ["mind", "0.2520", "0.10", "0.03", "0.7050", "0.6900"],
        # Seed 0 of both: OPAL is the less right, and sasrec's line ends at a recall of 0.3.
        ["sasrec", "0.3200", "0.00", "0.05", "0.5000", "0.5000"],
        ["sasrec", "0.2880", "0.08", "0.10", "0.6600", "0.5200"],
        ["pop", "0.1000", "0.20", "0.00", "0.8000", "–"],
        ["pop", "0.0900", "0.20", "0.00", "0.8000", "–"],
    ]
    assert [[value.strong for value in row[4:]] for row in table.rows[2:4]] == [
        [False, False],
        [True, False],
    ]


def test_opal_is_compared_user_by_user(plan: Plan) -> None:
    finish_all(plan, opal=0.3, mind=0.29, comirec_sa=0.2, sasrec=0.32, pop=0.1)

    against = compare_with_rivals(main_results(plan, "dataset", "default"))

    # Users differ by 0.14 from one another: only a paired comparison tells 0.01.
    found = {rival: intervals["recall@50"] for rival, _, _, intervals in against}
    assert found["mind"].difference == pytest.approx(0.01, abs=1e-6)
    verdicts = {rival: interval.verdict for rival, interval in found.items()}
    assert verdicts == {"mind": "ahead", "comirec-sa": "ahead", "sasrec": "behind", "pop": "ahead"}
    hit_rates = {rival: intervals["hitrate@50"].verdict for rival, _, _, intervals in against}
    assert hit_rates["sasrec"] == "ahead"


def test_the_best_rival_is_a_multi_interest_model(plan: Plan) -> None:
    finish_all(plan, opal=0.3, mind=0.29, comirec_sa=0.2, sasrec=0.32, pop=0.4)
    results = main_results(plan, "dataset", "default")

    against = compare_with_rivals(results)
    best = best_rival(results, against)
    row = overview_row("dataset", results, against)

    assert best is not None
    assert best.model == "mind"
    assert row is not None
    assert [value.text for value in row[:4]] == [
        "dataset",
        "0.3000 ± 0.0141",
        "mind",
        "0.2900 ± 0.0141",
    ]
    assert row[5] == Value("ahead", strong=True)


def test_a_pair_is_compared_over_the_seeds_that_both_have(plan: Plan) -> None:
    finish_all(plan, opal=0.3, pop=0.1)
    cells = {(cell.model, cell.seed): cell for cell in plan.cells}
    finish(cells["mind", 1], 0.28)  # OPAL: 0.29 with seed 0, 0.31 with seed 1
    finish(cells["sasrec", 0], 0.28)

    report = Summary(plan).report()

    against = {
        each.rival: each for each in compare_with_rivals(main_results(plan, "dataset", "default"))
    }
    assert against["mind"].intervals["recall@50"].difference == pytest.approx(0.03, abs=1e-6)
    assert against["sasrec"].intervals["recall@50"].difference == pytest.approx(0.01, abs=1e-6)
    assert against["pop"].intervals["recall@50"].difference == pytest.approx(0.2, abs=1e-6)
    assert [against[model].seeds for model in ("mind", "sasrec", "pop")] == [[1], [0], [0, 1]]
    overview, section = report.sections[:2]
    (table,) = overview.parts
    assert isinstance(table, Table)
    (row,) = table.rows
    texts = [value.text for value in row]
    assert texts[1:4] == ["0.3100", "mind", "0.2800"]
    assert texts[-1] == "1 of 2"
    said = (
        "Fewer seeds than asked for: octopus (reconstructed) 0 of 2, mind 1 of 2, "
        "comirec-sa 0 of 2, sasrec 1 of 2;"
    )
    assert said in table.caption
    assert said in section.paragraphs[0]
    pairs = next(part for part in section.parts if part.title == "OPAL against each")
    assert said in pairs.caption
    assert isinstance(pairs, Table)
    assert [row[2].text for row in pairs.rows] == ["1 of 2", "1 of 2", "2"]


def test_without_a_seed_in_common_there_is_no_pair(plan: Plan) -> None:
    cells = {(cell.model, cell.seed): cell for cell in plan.cells}
    finish(cells["opal", 0], 0.3)
    finish(cells["mind", 1], 0.28)

    results = main_results(plan, "dataset", "default")

    assert compare_with_rivals(results) == []
    assert best_rival(results, []) is None
    assert "No data set has both" in Summary(plan).report().sections[0].paragraphs[0]


def test_a_reconstructed_model_is_marked_and_not_the_best_rival(plan: Plan) -> None:
    finish_all(plan, opal=0.3, octopus=0.35, mind=0.29, comirec_sa=0.2, sasrec=0.32, pop=0.1)

    report = Summary(plan).report()

    (overview,) = report.sections[0].parts
    assert isinstance(overview, Table)
    assert overview.rows[0][2].text == "mind"
    assert "octopus (reconstructed) has a higher Recall@50 than mind, 0.3500." in overview.caption
    for part in report.sections[1].parts:
        assert "Octopus is reconstructed from summaries" in part.caption
        if isinstance(part, Table):
            labels = [row[0].text for row in part.rows]
            assert "octopus (reconstructed)" in labels
            assert "octopus" not in labels


def test_without_opal_there_is_nothing_to_compare(plan: Plan) -> None:
    finish_all(plan, mind=0.29, pop=0.1)

    assert compare_with_rivals(main_results(plan, "dataset", "default")) == []


def test_the_best_stands_out_and_missing_seeds_are_said(plan: Plan) -> None:
    finish_all(plan, mind=0.29, pop=0.1)
    finish(plan.cells[0], 0.28)

    table = table_of_results("t", "c", ACCURACY, main_results(plan, "dataset", "default"))

    assert table.header == ["model", "Recall@50 ↑", "HitRate@50 ↑"]
    assert [row[0].text for row in table.rows] == ["opal (1 of 2 seeds)", "mind", "pop"]
    assert [[value.strong for value in row[1:]] for row in table.rows] == [
        [False, False],
        [True, False],
        [False, True],
    ]


def test_ablations_are_set_beside_the_same_seeds_of_opal(plan: Plan) -> None:
    """OPAL's other seeds would make a difference between seeds look like one by the ablation."""
    studied = make_plan(replace(plan.request, ks=(2, 8), k_models=("opal",), ablations=True))
    for cell in studied.cells:
        if cell.model == "opal" and (cell.variant.name == "main" or cell.seed == 1):
            cell.begin()
            finish(cell, 0.3 if cell.seed == 1 else 0.2)
    parts = Summary(studied).report().sections[2].parts
    of_k, ablations = (part for part in parts if isinstance(part, Table))

    assert "Over the seeds that all have: 1." in ablations.caption
    assert {row[1].text for row in (*ablations.rows, *of_k.rows)} == {"0.3000"}


def test_without_a_seed_in_common_a_study_shows_what_there_is(plan: Plan) -> None:
    studied = make_plan(replace(plan.request, ks=(2, 8), k_models=("opal",), ablations=True))
    for cell in studied.cells:
        if cell.model == "opal" and cell.seed == (0 if cell.variant.name == "main" else 1):
            cell.begin()
            finish(cell, 0.3)
    parts = Summary(studied).report().sections[2].parts
    of_k, ablations = (part for part in parts if isinstance(part, Table))

    assert len(of_k.rows) == 2
    assert len(ablations.rows) > 2
    assert "No seed is common to all: a difference may be one between seeds." in ablations.caption


def test_a_study_says_of_how_many_seeds_its_lines_are(plan: Plan) -> None:
    studied = make_plan(replace(plan.request, ks=(2, 8), k_models=("opal",), ablations=True))
    for cell in studied.cells:
        if cell.model == "opal" and (cell.variant.name == "main" or cell.seed == 0):
            cell.begin()
            finish(cell, 0.3)
    parts = Summary(studied).report().sections[2].parts
    of_k, ablations = (part for part in parts if isinstance(part, Table))

    names = [row[0].text for row in of_k.rows]
    assert names == ["opal, k = 2 (1 of 2 seeds)", "opal, k = 8 (1 of 2 seeds)"]
    names = [row[0].text for row in ablations.rows]
    assert names[0] == "OPAL as it is (1 of 2 seeds)"
    assert "no uniformity loss (1 of 2 seeds)" in names


def test_seeds_that_are_equal_are_not_one_seed(plan: Plan) -> None:
    for cell in plan.cells:
        finish(cell, 0.25)

    table = table_of_results("t", "c", ACCURACY, main_results(plan, "dataset", "default"))

    assert table.rows[0][1].text == "0.2500 ± 0.0000"
    assert table.rows[-1][1].text == "0.2500"  # of a yardstick there is one


def test_what_failed_and_what_is_missing_is_said(plan: Plan) -> None:
    finish_all(plan, mind=0.29)
    plan.cells[0].fail("the loss is nan")

    ((cell, why),) = failures(plan, {})
    document = Summary(plan).document()

    assert (cell, why) == (plan.cells[0], "the loss is nan")
    assert document["failed"] == {"dataset opal default main seed 0": "the loss is nan"}
    assert len(missing(plan, {})) == len(plan.cells) - 3
    sections = Summary(plan).report().sections
    titles = [section.title for section in sections]
    assert titles == ["Overview", "dataset, recipe default", "Failed", "Not run yet"]
    assert sections[-1].paragraphs == [
        "8 cells: dataset opal default (seed 1: main); dataset octopus default (seed 0, 1: main); "
        "dataset comirec-sa default (seed 0, 1: main); dataset sasrec default (seed 0, 1: main); "
        "dataset pop"
    ]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (MEASURES_FILE, b"{"),
        (MEASURES_FILE, b"[]"),
        (MEASURES_FILE, b"\xff"),
        (MEASURES_FILE, b'{"format_version": 1, "test": {"users": 400}}'),
        (MEASURES_FILE, b'{"format_version": 2}'),
        (MEASURES_FILE, b'{"format_version": 2, "test": {"users": 3}}'),
        (USERS_FILE, None),
        (USERS_FILE, b""),
        (USERS_FILE, b"PK\x03\x04 cut off"),
    ],
)
def test_a_damaged_cell_is_not_finished(plan: Plan, file: str, content: bytes | None) -> None:
    finish_all(plan, opal=0.3, mind=0.29)
    cell = plan.cells[0]
    (cell.folder / file).unlink()
    if content is not None:
        (cell.folder / file).write_bytes(content)

    document = Summary(plan).document()

    assert cell.damage()
    assert "dataset opal default main seed 0" in document["missing"]
    assert [each["seeds"] for each in document["results"]] == [1, 2]


def test_a_failure_that_could_not_be_written_is_said(plan: Plan) -> None:
    document = Summary(plan, {plan.cells[0].folder: "no space left"}).document()

    assert document["failed"] == {"dataset opal default main seed 0": "no space left"}
    assert "dataset opal default main seed 0" not in document["missing"]


def test_a_damaged_failure_is_no_failure(plan: Plan) -> None:
    (plan.cells[0].folder / FAILED_FILE).write_text("{")

    assert plan.cells[0].damage().startswith(FAILED_FILE)
    assert failures(plan, {}) == []
    assert plan.cells[0] in missing(plan, {})


def test_without_opals_run_there_is_no_map(plan: Plan) -> None:
    finish_all(plan, opal=0.3, mind=0.29)

    section = Summary(plan).report().sections[1]

    assert section.paragraphs[-1].startswith("There is no map of OPAL's items: ")
    assert "run.json is missing" in section.paragraphs[-1]


def test_a_tiny_catalog_is_said_in_every_caption(plan: Plan) -> None:
    finish_all(plan, opal=0.3, mind=0.29)
    summaries = {name: {**each, "items": 20} for name, each in plan.summaries.items()}

    report = Summary(replace(plan, summaries=summaries)).report()

    parts = [part for section in report.sections for part in section.parts]
    said = "The catalog has 20 items, so that Recall@20, Recall@50 are 1 for all models"
    captions = [part.caption for part in parts if part.title != "Not run yet"]
    assert len(captions) > 4
    assert all(said in caption for caption in captions)
    assert not any(
        "tells nothing" in part.caption for part in Summary(plan).report().sections[1].parts
    )
