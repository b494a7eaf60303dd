"""Dockerfile, compose file and Prometheus target agree with each other and with pyproject.toml.

No image can be built where the tests run; what is promised here is read from the files.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings

ROOT = Path(__file__).parents[3]
PORT = "8000"
REGISTRY = "/registry"


@pytest.fixture(scope="module")
def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert isinstance(content, dict)
    return content


def stage(dockerfile: str, name: str) -> str:
    """The text of one stage."""
    match = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", dockerfile, re.M | re.S)
    assert match, f"no stage {name}"
    return match.group(1)


def test_the_service_is_what_a_plain_build_makes(dockerfile: str) -> None:
    assert re.findall(r"^FROM \S+ AS (\S+)", dockerfile, re.M)[-1] == "service"


def test_the_service_image_gets_nothing_of_the_training_stages(dockerfile: str) -> None:
    assert re.findall(r"--from=(\S+)", stage(dockerfile, "service")) == ["dependencies", "code"]
    assert re.search(r"^FROM dependencies AS code", dockerfile, re.M)
    assert "[train]" not in stage(dockerfile, "dependencies")


def test_builder_and_service_get_the_same_optional_parts(
    dockerfile: str, compose: dict[str, Any]
) -> None:
    assert 'install ".${EXTRAS:+[$EXTRAS]}"' in stage(dockerfile, "dependencies")
    assert "FROM dependencies AS train-dependencies" in dockerfile
    for name in ("service", "trainer"):
        assert compose["services"][name]["build"]["args"]["EXTRAS"] == "${EXTRAS:-}"


def test_dependencies_are_copied_before_code(dockerfile: str) -> None:
    """A new release then changes the last, small layers only."""
    for name in ("service", "trainer"):
        assert re.findall(r"--from=(\S+)", stage(dockerfile, name))[-1] == "code"
    assert "COPY pyproject.toml ./\n" in stage(dockerfile, "dependencies")
    assert "model" not in stage(dockerfile, "dependencies")


def test_images_do_not_run_as_root(dockerfile: str) -> None:
    assert "USER 10001:10001" in stage(dockerfile, "runtime")
    assert "USER" not in stage(dockerfile, "service") + stage(dockerfile, "trainer")


def test_versions_are_named_in_pyproject_only(dockerfile: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pinned = [*project["dependencies"], *extras["train"], *extras["scann"]]

    for requirement in pinned:
        assert requirement.split("==")[1].split(";")[0] not in dockerfile


def test_no_package_index_is_named(dockerfile: str, compose: dict[str, Any]) -> None:
    assert "://" not in dockerfile
    assert compose["services"]["trainer"]["build"]["args"]["TORCH_INDEX_URL"] == (
        "${TORCH_INDEX_URL:-}"
    )


def test_everything_that_is_copied_is_in_the_build_context(dockerfile: str) -> None:
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        name
        for sources in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.*) \S+$", dockerfile, re.M)
        for name in sources.split()
    }

    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_one_port_from_the_process_to_the_scrape(dockerfile: str, compose: dict[str, Any]) -> None:
    service = stage(dockerfile, "service")
    scrape = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"][0]

    assert f"EXPOSE {PORT}\n" in service
    assert f'"--port", "{PORT}"' in service
    assert f"'127.0.0.1', {PORT}," in service
    assert f"--port={PORT}" in compose["services"]["service"]["command"]
    assert compose["services"]["service"]["ports"] == [f"127.0.0.1:${{PORT:-{PORT}}}:{PORT}"]
    assert scrape["static_configs"] == [{"targets": [f"service:{PORT}"]}]


def test_trainer_and_service_share_one_registry(dockerfile: str, compose: dict[str, Any]) -> None:
    for name in ("service", "trainer"):
        assert f"registry:{REGISTRY}" in compose["services"][name]["volumes"]
        assert compose["services"][name]["build"]["target"] == name
        assert f'"{REGISTRY}"]' in stage(dockerfile, name)
    assert f"--registry={REGISTRY}" in compose["services"]["service"]["command"]
    assert f"REGISTRY={REGISTRY}" in stage(dockerfile, "trainer")


def test_the_service_waits_for_redis_but_not_for_a_bundle(compose: dict[str, Any]) -> None:
    service = compose["services"]["service"]

    assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "--wait-for-bundle" in service["command"]
    assert "healthcheck" in compose["services"]["redis"]


def test_requests_in_flight_may_finish_before_the_container_is_killed(
    compose: dict[str, Any],
) -> None:
    settings = Settings.model_fields
    needed = settings["drain_seconds"].default + settings["shutdown_timeout"].default

    grace = compose["services"]["service"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > needed


def test_settings_in_the_compose_file_exist(compose: dict[str, Any]) -> None:
    for name in compose["services"]["service"]["environment"]:
        assert name.removeprefix("OPAL_").lower() in Settings.model_fields


def test_every_container_is_limited_and_locked_down(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


def test_files_that_are_mounted_exist(compose: dict[str, Any]) -> None:
    mounted = [
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]

    assert mounted
    assert all((ROOT / path).is_file() for path in mounted)
