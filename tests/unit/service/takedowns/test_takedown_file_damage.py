"""A file of takedowns that is damaged, gone back, or cannot be followed."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from index.takedowns.takedown_file import TakedownFile
from index.takedowns.takedowns import Takedown
from model.errors import RegistryError
from service.api.answers import (
    TakedownAnswer,
)
from tests.bundles import item_id
from tests.problems import assert_is, assert_problem
from tests.services import service_in_process
from tests.takedowns import candidates, path_of, put

pytestmark = pytest.mark.anyio


def damage(registry_path: Path) -> None:
    TakedownFile(registry_path).path.write_text("nonsense")


def become_a_folder(registry_path: Path) -> None:
    TakedownFile(registry_path).path.unlink()
    TakedownFile(registry_path).path.mkdir()


@pytest.mark.parametrize("spoil", [damage, become_a_folder])
async def test_a_file_that_is_spoiled_leaves_in_force_what_was_and_is_told_once(
    registry_path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    async with service_in_process(registry_path, takedown_interval=0.01) as service:
        taken = (await candidates(service))[0]
        await put(service, taken)
        spoil(registry_path)
        await asyncio.sleep(0.2)
        refused = assert_problem(await service.client.put(path_of("b")), 503)
        assert "ledger.jsonl" in refused["detail"]
        assert_problem(await service.client.delete(path_of(taken)), 503)
        assert taken not in await candidates(service)
        assert_is(TakedownAnswer, await service.client.get(path_of(taken)))
        assert caplog.text.count("(1 stay in force)") == 1
        assert b'refreshes_total{outcome="failed"}' in service.state["metrics"].render()

        # Taken away, it is written again.
        file = TakedownFile(registry_path)
        file.path.rmdir() if file.path.is_dir() else file.path.unlink()
        async with asyncio.timeout(5):
            while (ledger := file.read()) is None:
                await asyncio.sleep(0.01)
        assert set(ledger.takedowns) == {taken}
        assert (await put(service, "b"))["new"]


async def test_damage_behind_the_head_is_told_without_a_change(
    registry_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with service_in_process(registry_path, takedown_interval=0.01) as service:
        await put(service, item_id(1))
        ledger = TakedownFile(registry_path).path
        sound = ledger.read_text()
        ledger.write_text(sound.replace(item_id(1), item_id(2)))
        async with asyncio.timeout(5):
            while b'refreshes_total{outcome="failed"}' not in service.state["metrics"].render():
                await asyncio.sleep(0.01)
        assert "the SHA-256 in its first line differs" in caplog.text
        assert caplog.text.count("(1 stay in force)") == 1

        ledger.write_text(sound)
        async with asyncio.timeout(5):
            while "can be followed again" not in caplog.text:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("spoil", [damage, become_a_folder])
async def test_a_file_that_is_spoiled_keeps_a_worker_from_starting(
    registry_path: Path, spoil: Callable[[Path], None]
) -> None:
    TakedownFile(registry_path).change(lambda ledger: ledger.put(Takedown("a", "then")))
    spoil(registry_path)

    with pytest.raises((RegistryError, OSError), match=r"ledger\.jsonl"):
        async with service_in_process(registry_path):
            pass


async def test_a_file_that_went_back_gets_what_it_lost(registry_path: Path) -> None:
    file = TakedownFile(registry_path)
    async with service_in_process(registry_path, takedown_interval=0.01) as service:
        await put(service, "a")
        old = file.path.read_bytes()
        await put(service, "b")
        file.path.write_bytes(old)
        async with asyncio.timeout(5):
            while set((file.read() or pytest.fail("no file")).takedowns) != {"a", "b"}:
                await asyncio.sleep(0.01)


async def test_a_defect_does_not_end_following(
    registry_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with service_in_process(registry_path, takedown_interval=0.01) as service:
        with monkeypatch.context() as patch:
            patch.setattr(TakedownFile, "read_again", lambda *_: 1 / 0)
            await asyncio.sleep(0.1)
        assert "ZeroDivisionError" in caplog.text
        TakedownFile(registry_path).change(lambda ledger: ledger.put(Takedown("a", "then")))
        async with asyncio.timeout(5):
            while not service.state["live"].takedowns.ledger.takedowns:
                await asyncio.sleep(0.01)
