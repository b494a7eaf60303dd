"""What /admin does, and that it answers a bad registry with a problem, never a 500."""

import shutil
from pathlib import Path

import pytest

from index.registry.registry import Registry
from service.api.answers import BundlesAnswer, Problem, SwapAnswer
from service.api.problems import PROBLEM_JSON
from tests.problems import assert_is, assert_problem
from tests.services import InProcess, service_in_process

pytestmark = pytest.mark.anyio


async def ask(service: InProcess, call: str, version: str | None = None) -> tuple[int, Problem]:
    body = {} if version is None else {"version": version}
    response = await service.client.post(f"/admin/{call}", json=body)
    assert response.headers["content-type"] == PROBLEM_JSON
    document: Problem = response.json()
    return response.status_code, document


@pytest.mark.parametrize("call", ["reload", "rollback"])
async def test_a_current_that_is_nonsense_is_told(
    service: InProcess, registry_path: Path, call: str
) -> None:
    (registry_path / "CURRENT").write_text("../../etc/passwd")
    status, problem = await ask(service, call)

    assert status == 503
    assert "CURRENT: not a version's name" in problem["detail"]


@pytest.mark.parametrize("call", ["reload", "rollback"])
async def test_a_current_that_is_a_folder_is_told(
    service: InProcess, registry_path: Path, call: str
) -> None:
    (registry_path / "CURRENT").unlink()
    (registry_path / "CURRENT").mkdir()
    status, problem = await ask(service, call)
    listed = await service.client.get("/admin/bundles")

    assert status == 503
    assert "CURRENT: Is a directory" in problem["detail"]
    assert listed.json()["current"] is None


async def test_a_lock_that_cannot_be_written_is_told(
    service: InProcess, registry_path: Path, other_bundle_path: Path
) -> None:
    live = service.state["live"].version
    second = Registry(registry_path).publish(other_bundle_path, activate=False)
    (registry_path / ".lock").unlink()
    (registry_path / ".lock").mkdir()
    reload = await ask(service, "reload", second)
    rollback = await ask(service, "rollback")

    assert reload[0] == rollback[0] == 503
    assert ".lock: Is a directory" in reload[1]["detail"]
    assert service.state["live"].version == live


async def test_a_registry_that_is_gone_is_told(service: InProcess, registry_path: Path) -> None:
    shutil.rmtree(registry_path / "bundles")
    (registry_path / "bundles").write_text("no folder")

    assert (await ask(service, "reload", service.state["live"].version))[0] == 404
    assert (await service.client.get("/admin/bundles")).status_code == 200


async def test_a_manifest_that_cannot_be_read_is_told_in_the_list(
    service: InProcess, registry_path: Path
) -> None:
    manifest = Registry(registry_path).bundle_path(Registry(registry_path).versions()[0])
    (manifest / "manifest.json").unlink()
    (manifest / "manifest.json").mkdir()
    listed = await service.client.get("/admin/bundles")

    assert listed.status_code == 200
    assert listed.json()["bundles"][0]["refused"]


async def test_a_rollback_that_cannot_be_taken_back_tells_both(
    service: InProcess,
    registry_path: Path,
    other_bundle_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = Registry(registry_path).publish(other_bundle_path)
    await service.client.post("/admin/reload")

    def refuse(*_: object, **__: object) -> None:
        (registry_path / ".lock").unlink()
        (registry_path / ".lock").mkdir()
        raise RuntimeError("no memory")

    monkeypatch.setattr("service.reloading.open_bundle", refuse)
    status, problem = await ask(service, "rollback")

    assert status == 409
    assert "no memory" in problem["detail"]
    assert f"could not be set back to {second}" in problem["detail"]
    assert service.state["live"].version == second


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("bearer secret", 200),
        ("BEARER  secret", 200),
        ("Basic secret", 401),
        ("secret", 401),
        ("Bearer", 401),
        ("Bearer Secret", 401),
    ],
)
async def test_the_scheme_of_the_token_may_be_in_any_case(
    registry_path: Path, header: str, status: int
) -> None:
    async with service_in_process(registry_path, admin_token="secret") as service:
        answer = await service.client.get("/admin/bundles", headers={"Authorization": header})

    assert answer.status_code == status


async def test_admin_asks_for_its_token_where_one_is_set(registry_path: Path) -> None:
    async with service_in_process(registry_path, admin_token="secret") as service:
        without = await service.client.get("/admin/bundles")
        wrong = await service.client.get("/admin/bundles", headers={"Authorization": "Bearer x"})
        right = await service.client.get(
            "/admin/bundles", headers={"Authorization": "Bearer secret"}
        )

    assert assert_problem(without, 401)
    assert without.headers["www-authenticate"] == "Bearer"
    assert_problem(wrong, 401)
    assert_is(BundlesAnswer, right)


async def test_reload_goes_to_a_named_version_and_rollback_goes_back(
    registry_path: Path, service: InProcess, other_bundle_path: Path
) -> None:
    first = service.state["live"].version
    second = Registry(registry_path).publish(other_bundle_path, activate=False)
    reloaded = await service.client.post("/admin/reload", json={"version": second})
    assert assert_is(SwapAnswer, reloaded) == {"bundle_version": second, "previous": first}
    assert Registry(registry_path).current() == second

    back = await service.client.post("/admin/rollback")
    assert assert_is(SwapAnswer, back) == {"bundle_version": first, "previous": second}
    assert Registry(registry_path).current() == first
    assert_problem(await service.client.post("/admin/rollback"), 409)


async def test_reload_without_a_version_looks_at_current_now(
    registry_path: Path, other_bundle_path: Path
) -> None:
    async with service_in_process(registry_path, reload_interval=3600) as service:
        unchanged = assert_is(SwapAnswer, await service.client.post("/admin/reload", json={}))
        second = Registry(registry_path).publish(other_bundle_path)
        swapped = assert_is(SwapAnswer, await service.client.post("/admin/reload"))

    assert unchanged["bundle_version"] == unchanged["previous"] == swapped["previous"]
    assert swapped["bundle_version"] == second


@pytest.mark.parametrize("version", ["../../etc", "20260101T000000Z-00000000"])
async def test_reload_to_a_version_that_is_not_there_is_404(
    service: InProcess, version: str
) -> None:
    assert_problem(await service.client.post("/admin/reload", json={"version": version}), 404)
