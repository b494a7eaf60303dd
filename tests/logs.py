"""Logs for tests of what reads one."""

from typing import NamedTuple

import numpy as np

from model.arrays import Rows


class LaidOutLog(NamedTuple):
    """Users' sequences one after the other, as a data set holds them."""

    items: Rows
    begin: Rows
    end: Rows


def lay_out(sequences: list[list[int]]) -> LaidOutLog:
    ends = np.cumsum([len(sequence) for sequence in sequences])
    items = np.array([item for sequence in sequences for item in sequence], dtype=np.int64)
    return LaidOutLog(items, np.concatenate(([0], ends[:-1])), ends)


def draw_log(n_items: int, n_users: int = 200, seed: int = 0) -> list[list[int]]:
    """Users who read some items around one of their own, popular ones more often."""
    random = np.random.default_rng(seed)
    centre = (n_items * random.random(n_users) ** 2).astype(int)
    near = random.normal(0, 3, size=(n_users, 12)).astype(int)
    log: list[list[int]] = ((centre[:, None] + near) % n_items).tolist()
    return log
