"""Limits that two packages state agree.

The service does not import the constant of ``model.data.ids``: that module brings Polars, which no
worker needs.
"""

from model.data import ids
from service.api import schemas


def test_every_id_that_prepare_takes_can_be_asked_for() -> None:
    assert schemas.MAX_ID_LENGTH == ids.MAX_ID_LENGTH
