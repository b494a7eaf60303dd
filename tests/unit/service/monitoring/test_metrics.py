import subprocess
import sys
from pathlib import Path

import pytest

from service.monitoring.metrics import Metrics
from tests.services import service_environment


def test_two_instances_do_not_meet() -> None:
    one, other = Metrics(), Metrics()
    one.answers.labels("model").inc()

    assert b'opal_answers_total{source="model"} 1.0' in one.render()
    assert b'source="model"' not in other.render()


def test_stages_are_measured_even_when_they_fail() -> None:
    metrics = Metrics()
    with pytest.raises(ZeroDivisionError), metrics.stage("encode"):
        1 / 0  # noqa: B018

    assert b'opal_stage_seconds_count{stage="encode"} 1.0' in metrics.render()


def test_latency_buckets_begin_at_a_quarter_of_a_millisecond() -> None:
    metrics = Metrics()
    metrics.request_seconds.labels("/match").observe(0.0002)

    assert b'le="0.00025",route="/match"} 1.0' in metrics.render()


def test_a_swap_moves_the_bundle_series() -> None:
    metrics = Metrics()
    for version in ("v1", "v2"):
        metrics.note_bundle(version=version, model="opal", index_kind="flat", created=5.0, items=9)
    text = metrics.render().decode()

    assert 'opal_bundle_info{index_kind="flat",model="opal",version="v1"} 0.0' in text
    assert 'opal_bundle_info{index_kind="flat",model="opal",version="v2"} 1.0' in text
    assert 'opal_reloads_total{outcome="swapped"} 2.0' in text
    assert "opal_index_items 9.0" in text
    assert "opal_bundle_created_timestamp_seconds 5.0" in text


def test_a_worker_without_a_bundle_does_not_hide_when_that_of_others_was_built(
    tmp_path: Path,
) -> None:
    environment = service_environment() | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    note = "m.note_bundle(version='v', model='opal', index_kind='flat', created=5.0, items=9)"
    output = ""
    for then in (note, "print(m.render().decode())"):
        program = f"from service.monitoring.metrics import Metrics; m = Metrics(); {then}"
        output = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        ).stdout.decode()

    assert "opal_bundle_created_timestamp_seconds 5.0" in output


def test_one_process_tells_the_numbers_of_all(tmp_path: Path) -> None:
    program = (
        "from service.monitoring.metrics import Metrics; m = Metrics(); "
        "m.answers.labels('model').inc(2); m.workers_ready.set(1); print(m.render().decode())"
    )
    environment = service_environment() | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        ).stdout.decode()
        for _ in range(2)
    ]

    assert 'opal_answers_total{source="model"} 4.0' in outputs[1]
    assert "opal_workers_ready 2.0" in outputs[1]
