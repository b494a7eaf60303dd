"""Which yardsticks are measured beside OPAL, and what is said of those that are not."""

import pytest

from model.baselines import ease, yardsticks
from model.baselines.fitting import fit_baseline
from model.baselines.measuring import measure_parts
from model.baselines.names import YARDSTICKS
from model.baselines.yardsticks import Choice, choose_yardsticks, measure_yardsticks
from model.data.dataset import Dataset
from model.errors import InputError


def test_on_small_data_all_are_measured(dataset: Dataset) -> None:
    assert choose_yardsticks(dataset) == Choice(YARDSTICKS, {})


def test_only_those_wanted_are_measured(dataset: Dataset) -> None:
    assert choose_yardsticks(dataset, ["ease", "pop"]) == Choice(("pop", "ease"), {})
    assert choose_yardsticks(dataset, []) == Choice((), {})


def test_what_takes_long_is_left_out_and_says_why(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yardsticks, "AUTO_PAIRS", 100)
    monkeypatch.setattr(yardsticks, "AUTO_EASE_ITEMS", 100)
    choice = choose_yardsticks(dataset)

    assert choice.names == ("pop",)
    assert f"{dataset.n_items} items take it 0 s of one core and 0.0 GB" in choice.left_out["ease"]
    assert "pairs of items take it minutes" in choice.left_out["itemknn"]
    assert all("--yardsticks pop,itemknn,ease" in reason for reason in choice.left_out.values())
    assert choose_yardsticks(dataset, YARDSTICKS).names == YARDSTICKS


def test_what_does_not_fit_is_left_out_or_refused(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (yardsticks, ease):
        monkeypatch.setattr(module, "MAX_ITEMS", 100)

    assert "limited to 100 items" in choose_yardsticks(dataset).left_out["ease"]
    with pytest.raises(InputError, match="limited to 100 items"):
        choose_yardsticks(dataset, ["ease"])


def test_the_figures_are_those_of_each(dataset: Dataset) -> None:
    found = measure_yardsticks(dataset, Choice(("pop", "ease"), {"itemknn": "why"}))

    assert found == {
        "yardsticks": {
            name: measure_parts(fit_baseline(name, dataset), dataset) for name in ("pop", "ease")
        },
        "yardsticks_left_out": {"itemknn": "why"},
    }
    popular, linear = found["yardsticks"].values()
    assert popular["valid"]["users"] == len(dataset.valid.histories)
    assert linear["test"]["recall@50"] > popular["test"]["recall@50"], "planted interests tell"


@pytest.mark.parametrize(
    ("error", "words"), [(InputError("cannot"), "cannot"), (MemoryError(), "too little memory")]
)
def test_one_that_fails_does_not_cost_the_training(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(name: str, _: Dataset) -> None:
        raise error

    monkeypatch.setattr(yardsticks, "fit_baseline", fail)
    found = measure_yardsticks(dataset, Choice(("pop",), {}))

    assert found["yardsticks"] == {}
    assert words in found["yardsticks_left_out"]["pop"]
