"""The alerts name metrics that exist and sections that can be read; promtool checks their logic."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from service.monitoring.metrics import Metrics
from service.settings import Settings

DEPLOY = Path(__file__).parents[3] / "deploy"
Rule = dict[str, Any]


def rules() -> list[Rule]:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def metric_names() -> dict[str, set[str]]:
    """Names that the service can show, each with its labels."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    labels = {metric._name: set(metric._labelnames) for metric in vars(metrics).values()
              if hasattr(metric, "_labelnames")}  # fmt: skip
    names: dict[str, set[str]] = {}
    for family in registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["", "_bucket", "_count", "_sum"]}
        for suffix in suffixes.get(family.type, [""]):
            names[family.name + suffix] = labels[family.name] | {"instance", "job", "le"}
    return names


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    return metric_names()


@pytest.fixture(scope="module")
def page() -> str:
    return (DEPLOY / "README.md").read_text()


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Metrics of ours in a query, with the labels they are asked for."""
    for name, matchers in re.findall(r"\b(opal_\w+)(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_asks_for_metrics_and_labels_that_the_service_has(
    rule: Rule, known: dict[str, set[str]]
) -> None:
    for name, labels in selectors(rule["expr"]):
        assert name in known
        assert labels <= known[name]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: Rule, page: str) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"deploy/README.md#{rule['alert'].lower()}"
    assert f"\n### {rule['alert']}\n" in page


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    cases = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]
    fired = {
        name
        for case in cases
        for check in case["promql_expr_test"]
        if check["exp_samples"]
        for text in [check["expr"], *(sample["labels"] for sample in check["exp_samples"])]
        for name in re.findall(r'alertname="(\w+)"', text)
    }

    assert fired == {rule["alert"] for rule in rules()}


def test_cases_feed_metrics_that_the_service_has(known: dict[str, set[str]]) -> None:
    for case in yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]:
        for fed in case["input_series"]:
            for name, labels in selectors(fed["series"]):
                assert labels <= known[name]


def test_prometheus_loads_the_alerts_and_scrapes_the_job_they_name() -> None:
    settings = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    jobs = {job["job_name"] for job in settings["scrape_configs"]}

    assert settings["rule_files"] == ["alerts.yml"]
    assert jobs == {job for rule in rules() for job in re.findall(r'job="([^"]+)"', rule["expr"])}


def test_the_page_lists_every_metric_and_no_other(known: dict[str, set[str]], page: str) -> None:
    table = page.split("## Metrics")[1].split("## Capacity", maxsplit=1)[0]
    listed = dict(re.findall(r"^\| `(opal_\w+)(?:\{([^}]*)\})?`", table, re.M))

    families = {name for name in known if not re.search(r"_(bucket|count|sum)$", name)}
    assert set(listed) == families
    for name, labels in listed.items():
        assert set(filter(None, labels.split(","))) == known[name] - {"instance", "job", "le"}


def test_settings_that_the_page_names_exist(page: str) -> None:
    named = set(re.findall(r"OPAL_([A-Z_]+)", page))

    assert {name.lower() for name in named} <= set(Settings.model_fields)
