"""Both cores do the same work: from an exact index they give the same answers."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from index.bundles.bundle import Bundle, open_bundle
from index.bundles.manifest import read_manifest
from service.api.query import Query
from tests.bench.core_process import CoreProcesses, compute
from tests.bench.learned_bundle import LearnedBundle, make_learned_bundle
from tests.bench.our_core import answers
from tests.bench.peers.core import BUNDLE_VARIABLE, CORE_VARIABLE, OURS, PLAIN, load_core, to_json
from tests.bench.plain_core import PlainCore
from tests.bench.prepared_log import prepare_log
from tests.bench.scenarios.cores import exact_ids
from tests.bench.synthetic import make_bundle, to_ids

TOP_K = 30


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> LearnedBundle:
    folder = tmp_path_factory.mktemp("learned")
    dataset = prepare_log(folder, planted=True)
    return make_learned_bundle(folder, dataset, n_items=400, k=8, n_histories=12)


@pytest.fixture(scope="module")
def bundle(learned: LearnedBundle) -> Bundle:
    return open_bundle(learned.path)


@pytest.fixture(scope="module")
def histories(learned: LearnedBundle) -> list[list[str]]:
    # Of different lengths: the plain core has to pad.
    return [to_ids(rows[number:]) for number, rows in enumerate(learned.histories)]


def test_both_cores_give_the_same_candidates_and_interests(
    learned: LearnedBundle, bundle: Bundle, histories: list[list[str]]
) -> None:
    asked = [*histories, [*histories[0][:5], "unheard of"]]
    queries = [Query(history=tuple(each), top_k=TOP_K) for each in asked]
    ours = [orjson.loads(each) for each in answers(bundle, queries)]
    plain = PlainCore(learned.path).answers(asked, TOP_K)

    assert len(ours) == len(plain) == len(asked)
    for one, other in zip(ours, plain, strict=True):
        assert one["bundle_version"] == other["bundle_version"]
        assert one["unknown_items"] == other["unknown_items"]
        assert {(each["interest"], each["interactions"]) for each in one["interests"]} == {
            (each["interest"], each["interactions"]) for each in other["interests"]
        }
        # Rounding may order what scores nearly the same in another way.
        np.testing.assert_allclose(
            [each["score"] for each in one["candidates"]],
            [each["score"] for each in other["candidates"]],
            atol=1e-5,
        )
        ids = [{each["item_id"] for each in answer["candidates"]} for answer in (one, other)]
        assert len(ids[0] & ids[1]) >= TOP_K - 1
        assert [set(each) for each in one["candidates"]] == [
            set(each) for each in other["candidates"]
        ]
    assert ours[-1]["unknown_items"] == 1


def test_a_batch_answers_each_user_as_alone(
    learned: LearnedBundle, histories: list[list[str]]
) -> None:
    core = PlainCore(learned.path)
    together = core.answers(histories, TOP_K)

    for history, answer in zip(histories, together, strict=True):
        [alone] = core.answers([history], TOP_K)
        np.testing.assert_allclose(
            [each["score"] for each in alone["candidates"]],
            [each["score"] for each in answer["candidates"]],
            atol=1e-5,
        )
        assert not {each["item_id"] for each in answer["candidates"]} & set(history)


def test_the_plain_core_finds_what_is_exact(
    learned: LearnedBundle, bundle: Bundle, histories: list[list[str]]
) -> None:
    found = PlainCore(learned.path).answers(histories, TOP_K)

    for exact, answer in zip(exact_ids(bundle, histories, TOP_K), found, strict=True):
        assert len(exact & {each["item_id"] for each in answer["candidates"]}) >= TOP_K - 1


def test_the_plain_core_knows_the_papers_share_of_the_evolved_interest(tmp_path: Path) -> None:
    """A bundle that says nothing of γ has the paper's: there the GRU makes half of an interest."""
    path = make_bundle(tmp_path, n_items=300, k=4)
    asked = [to_ids(np.arange(number, number + 20)) for number in (3, 50)]
    queries = [Query(history=tuple(each), top_k=TOP_K) for each in asked]
    ours = [orjson.loads(each) for each in answers(open_bundle(path), queries)]

    for one, other in zip(ours, PlainCore(path).answers(asked, TOP_K), strict=True):
        np.testing.assert_allclose(
            [each["score"] for each in one["candidates"]],
            [each["score"] for each in other["candidates"]],
            atol=1e-5,
        )


def test_the_learned_bundle_has_histories_as_long_as_the_encoder_uses_and_all_different(
    learned: LearnedBundle, bundle: Bundle
) -> None:
    assert {len(each) for each in learned.histories} == {bundle.encoder.max_len}
    assert len({each.tobytes() for each in learned.histories}) == len(learned.histories)
    assert read_manifest(learned.path).index.measured_recall >= 0.95


@pytest.mark.parametrize("core", [PLAIN, OURS])
def test_peers_get_answers_in_order_and_each_as_long_as_it_was_asked_for(
    core: str, learned: LearnedBundle, histories: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BUNDLE_VARIABLE, str(learned.path))
    monkeypatch.setenv(CORE_VARIABLE, core)
    answer = load_core()
    requests = [
        {"interactions": history, "top_k": 5 + number} for number, history in enumerate(histories)
    ]
    together = [orjson.loads(to_json(each)) for each in answer(requests)]

    assert [len(each["candidates"]) for each in together] == [each["top_k"] for each in requests]
    for request, found in zip(requests, together, strict=True):
        [alone] = [orjson.loads(to_json(each)) for each in answer([request])]
        best, same = alone["candidates"][0], found["candidates"][0]
        assert best["item_id"] == same["item_id"]
        assert best["score"] == pytest.approx(same["score"], abs=2e-6), "torch rounds by the batch"


def test_a_core_computes_all_requests_in_turn_until_the_time_is_over() -> None:
    seen: list[int] = []

    def answer(requests: object) -> list[bytes]:
        assert isinstance(requests, list)
        seen.extend(each["number"] for each in requests)
        return [b"{}"] * len(requests)

    requests = [{"number": number} for number in range(10)]
    done = compute(answer, requests, 4, 0.01)

    assert seen[:14] == [*range(10), 0, 1, 2, 3]
    assert done["users"] == len(seen)


def test_core_processes_compute_side_by_side(
    learned: LearnedBundle, histories: list[list[str]]
) -> None:
    bodies = [orjson.dumps({"interactions": each, "top_k": 10}).decode() for each in histories]
    with CoreProcesses(OURS, learned.path, bodies, n=2) as processes:
        assert processes.speed(batch=3, seconds=0.05) > 0
        assert processes.speed(batch=1, seconds=0.05) > 0
