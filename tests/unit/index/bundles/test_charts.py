from typing import Any

from index.bundles.charts import BOTTOM, LEFT, RIGHT, TOP, Frame, make_charts, make_recall_chart


def entry(stage: str, step: int, **measures: Any) -> dict[str, Any]:
    return {"stage": stage, "step": step, **measures}


def test_every_measure_has_a_chart_that_fills_its_box() -> None:
    curve = [entry("soft", step, loss=3 - step / 100, recall=step / 400) for step in (0, 100, 200)]

    loss, recall = make_charts(curve)

    assert (loss.name, recall.name) == ("loss", "recall")
    middle = f"{(LEFT + RIGHT) / 2:.1f},{(TOP + BOTTOM) / 2:.1f}"
    assert loss.lines[0].points == f"{LEFT}.0,{TOP}.0 {middle} {RIGHT}.0,{BOTTOM}.0"
    assert loss.frame == Frame("loss: from 3 to 1 in 200 steps", "0", "200 steps", "1", "3")


def test_a_stage_whose_steps_start_again_follows_the_one_before() -> None:
    curve = [entry("soft", 100, loss=2), entry("soft", 200, loss=1), entry("hard", 50, loss=0.5)]

    (chart,) = make_charts(curve)

    assert chart.frame.last == "250 steps"
    assert [line.stage for line in chart.lines] == ["soft", "hard"]
    assert chart.lines[0].colour != chart.lines[1].colour
    assert chart.lines[0].dashes != chart.lines[1].dashes


def test_steps_that_go_on_over_stages_are_kept() -> None:
    (chart,) = make_charts([entry("soft", 200, loss=1), entry("hard", 300, loss=0.5)])

    assert chart.frame.last == "300 steps"


def test_what_is_missing_or_no_number_is_left_out() -> None:
    curve = [
        entry("soft", 1, loss=None, note="text", recall=0.1),
        entry("soft", 2, loss=float("nan")),
        entry("soft", 3, recall=0.1),
    ]

    (chart,) = make_charts(curve)

    assert chart.name == "recall"
    assert len(chart.lines[0].points.split()) == 2
    assert make_charts([]) == []


def test_operating_points_stand_in_a_frame_like_that_of_training() -> None:
    curve = [
        {"parameters": {"nprobe": probes}, "recall": 0.5 + probes / 10, "milliseconds": probes}
        for probes in (1, 2, 3)
    ]

    chart = make_recall_chart(curve, {"nprobe": 2})

    assert chart is not None
    assert chart.chosen == ((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2)
    summary = "recall@100 from 0.6000 in 1 ms to 0.8000 in 3 ms"
    assert chart.frame == Frame(summary, "1", "3 ms", "0.6", "0.8")
    assert make_recall_chart(curve[:1], {}) is None
