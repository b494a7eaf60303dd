"""Marks for tests of what is installed only where somebody wants it."""

from importlib.util import find_spec

import pytest

needs_scann = pytest.mark.skipif(find_spec("scann") is None, reason="ScaNN is not installed")

SCANN = pytest.param("scann", marks=needs_scann)
"""The kind of index, in a list of kinds."""
