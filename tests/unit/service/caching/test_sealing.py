import pytest

from service.caching.sealing import seal, unseal

ANSWER = b'{"candidates":[' + b'{"item_id":"i","score":0.5},' * 100 + b"0]}"
SEALED = seal("key", ANSWER)


def test_an_answer_comes_back_as_it_was() -> None:
    assert unseal("key", SEALED) == ANSWER
    assert unseal("key", seal("key", b"")) == b""


def test_it_takes_less_room() -> None:
    assert len(SEALED) < len(ANSWER) / 2


@pytest.mark.parametrize("place", range(0, len(SEALED), 7))
def test_one_bit_of_damage_anywhere_is_noticed(place: int) -> None:
    damaged = bytearray(SEALED)
    damaged[place] ^= 1

    assert unseal("key", bytes(damaged)) is None


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, len(SEALED) - 1])
def test_a_part_of_it_is_nothing(length: int) -> None:
    assert unseal("key", SEALED[:length]) is None


@pytest.mark.parametrize("stored", [None, 1, "text", [SEALED], b"{}", ANSWER, SEALED + b"0"])
def test_what_is_not_ours_is_nothing(stored: object) -> None:
    assert unseal("key", stored) is None


def test_an_answer_to_another_question_is_nothing() -> None:
    assert unseal("other", SEALED) is None
