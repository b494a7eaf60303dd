"""Which peers there are, and what becomes of one that cannot be installed."""

from pathlib import Path

import orjson
import pytest

from tests.bench.peers import environment
from tests.bench.peers.catalogue import NAMES, PEERS
from tests.bench.peers.core import OURS, PLAIN
from tests.bench.scenarios.peer_stacks import peer_stacks
from tests.bench.service_work import Work

BODY = '{"interactions": ["a", "b"], "top_k": 3}'


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path, tmp_path, tmp_path, [BODY], [])


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replace pip by one that refuses whatever needs mosec; return what it was asked for."""
    asked: list[list[str]] = []

    def install(folder: Path, requirements: list[str]) -> str | None:
        asked.append(requirements)
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        return "no wheel" if any(each.startswith("mosec") for each in requirements) else None

    monkeypatch.setattr(environment, "_install", install)
    monkeypatch.setattr(environment, "_run", lambda _: None)
    return asked


def test_every_peer_needs_something_that_is_pinned() -> None:
    pins = [*environment.PINS, *environment.project_pins()]

    for peer in PEERS:
        assert any(pin.startswith(peer.needs) for pin in pins), peer.needs
    assert all("==" in pin for pin in pins)


def test_peers_compute_with_the_projects_own_torch_numpy_and_faiss() -> None:
    names = {pin.partition("==")[0] for pin in environment.project_pins()}

    assert {"torch", "numpy", "faiss-cpu"} <= names


def test_what_cannot_be_installed_is_told_and_does_not_stop_the_others(
    tmp_path: Path, installed: list[list[str]]
) -> None:
    [[pin, problem]] = environment.prepare(tmp_path / "venv").items()

    assert (pin.partition("=")[0], problem) == ("mosec", "no wheel")
    assert [each[-1] for each in installed[2:]] == list(environment.PINS)


def test_an_environment_that_is_complete_is_not_installed_again(
    tmp_path: Path, installed: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "PINS", ("granian==2.8.7",))
    for _ in range(2):
        assert environment.prepare(tmp_path) == {}
    assert len(installed) == 1

    monkeypatch.setattr(environment, "PINS", ("granian==2.8.6",))
    environment.prepare(tmp_path)
    assert len(installed) == 2


def test_without_what_the_project_itself_needs_there_are_no_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_install", lambda *_: "no network")
    monkeypatch.setattr(environment, "_run", lambda _: None)
    with pytest.raises(environment.CannotInstallError, match="no network"):
        environment.prepare(tmp_path)


def test_peers_are_chosen_by_name_and_stand_on_each_core(work: Work) -> None:
    stacks = peer_stacks(
        work, Path("venv"), ["ray", "mosec"], cores=[PLAIN, OURS], without={"mosec==1"}
    )

    assert [(each.title, each.core) for each in stacks] == [
        ("Ray Serve, @serve.batch", PLAIN),
        ("Ray Serve, @serve.batch, our core", OURS),
    ]


def test_every_peer_is_asked_the_same(work: Work) -> None:
    stacks = peer_stacks(work, Path("venv"), NAMES, cores=[PLAIN], without=set())

    assert len(stacks) == len(PEERS)
    for stack in stacks:
        [body] = [orjson.loads(each) for each in stack.bodies]
        assert body.get("requests", [body]) == [orjson.loads(BODY)]
