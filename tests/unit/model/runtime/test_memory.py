"""Freed memory is kept: counted by the page faults that it saves."""

import platform
import subprocess
import sys

import pytest

from tests.services import REPOSITORY

# Blocks as a step makes them, freed before the next round; the first round may fault.
FAULTS = """
import resource, sys
import numpy as np
from model.runtime.memory import keep_freed_memory

def one_round():
    blocks = [np.ones(size << 18) for size in (1, 4, 6)]

if sys.argv[1] == "kept":
    keep_freed_memory()
one_round()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    one_round()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is taught")
def test_memory_that_was_freed_is_used_again_without_page_faults() -> None:
    faults = {}
    for how in ("kept", "returned"):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS, how],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        faults[how] = int(done.stdout)

    assert faults["kept"] < 0.1 * faults["returned"]
