"""Files that hold no encoder of OPAL's, or one that this program cannot use, in clear words."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from model.encoder import Stage
from model.errors import InputError
from model.opal import OpalEncoder
from model.run import write_encoder
from tests.bundles import load_opal
from tests.opal import MAX_LEN, PAPER_HARD, random_encoder


def test_a_missing_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"encoder\.safetensors: no such file"):
        load_opal(tmp_path / "encoder.safetensors")


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_a_truncated_encoder_is_named(stage: Stage, tmp_path: Path, size: int) -> None:
    random_encoder(tmp_path, stage, {})
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(InputError, match=r"encoder\.safetensors: not an encoder"):
        load_opal(path)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"encoder": "{"},
        {"encoder": "[]"},
        {"encoder": "{}"},
        {"encoder": json.dumps({"stage": "soft", "temperature": 0.1})},
        {"encoder": json.dumps({"stage": "hard", "temperature": 0.1, "max_len": 5})},
    ],
    ids=["none", "no json", "a list", "nothing", "no length", "no hard parameters"],
)
def test_tensors_that_are_no_encoder_are_named(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "encoder.safetensors"
    table = np.eye(3, dtype=np.float32)
    save_file({"item_embedding": table, "hyper_category": table}, path, metadata=metadata)

    with pytest.raises(InputError, match="not an encoder"):
        load_opal(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0),
        ("temperature", "0.1"),
        ("max_len", 0),
        ("max_len", 2.5),
        ("stage", "warm"),
        ("recency", float("nan")),
        ("recency", float("inf")),
        ("recency", None),
        ("sharing", -0.1),
        ("sharing", 1.1),
        ("sharing", True),
        ("evolution", float("nan")),
        ("evolution", 2),
        ("evolution", "all"),
        ("general", -0.1),
        ("general", 1e39),
        ("general", float("nan")),
        ("general", True),
        ("general_len", 0),
        ("general_len", 2.5),
    ],
)
def test_a_value_that_nothing_can_be_encoded_with_is_named(
    tmp_path: Path, name: str, value: object
) -> None:
    path = tmp_path / "encoder.safetensors"
    random_encoder(tmp_path, "hard", {})
    write_encoder(path, load_file(path), {**PAPER_HARD, name: value})

    words = rf"not an encoder \({name} is {re.escape(repr(value))}, expected"
    with pytest.raises(InputError, match=words):
        load_opal(path)


def test_programs_that_do_not_know_a_part_refuse_an_encoder_that_has_it() -> None:
    def name(**parts: Any) -> object:
        encoder = OpalEncoder(n_items=9, n_interests=2, dim=4, temperature=0.1, **parts)
        return encoder.exported("soft").settings.get("model", "opal")

    assert name() == "opal", "the only one that the earliest know"
    assert name(general=0.3) == "opal-general"
    assert name(general=0.3, positions=5) == "opal-attention"


@pytest.mark.parametrize(
    ("said", "attends", "words"),
    [
        (
            {"model": "opal-general", "general": 0.6},
            True,
            "model is opal-general, but tensors of a transformer are there",
        ),
        (
            {"model": "opal-attention", "general": 0.6},
            False,
            "model is opal-attention, but tensors of a transformer are missing",
        ),
        (
            {"model": "opal-general", "general": 0.0},
            False,
            "general is 0.0, expected more than 0 where model is opal-general",
        ),
        (
            {"model": "opal-attention", "general": 0.0},
            True,
            "general is 0.0, expected more than 0 where model is opal-attention",
        ),
    ],
)
def test_a_name_that_the_file_belies_is_refused(
    stage: Stage, tmp_path: Path, said: dict[str, Any], attends: bool, words: str
) -> None:
    random_encoder(tmp_path, stage, {"general": 0.6, **({"attention": MAX_LEN} if attends else {})})
    path = tmp_path / "encoder.safetensors"
    write_encoder(path, load_file(path), {**PAPER_HARD, "stage": stage, **said})

    with pytest.raises(InputError, match=re.escape(words)):
        load_opal(path)


def test_attention_to_fewer_ages_than_count_is_refused(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"transformer\.positions has 29 rows, expected 30 or more"
    ):
        random_encoder(tmp_path, stage, {"general": 0.6, "attention": MAX_LEN - 1})
