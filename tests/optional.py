"""Marks for tests of what is installed only where somebody wants it."""

from importlib.util import find_spec

import pytest

HAS_SCANN = find_spec("scann") is not None

needs_scann = pytest.mark.skipif(not HAS_SCANN, reason="ScaNN is not installed")

SCANN = pytest.param("scann", marks=needs_scann)
"""The kind of index, in a list of kinds."""
