"""Ids of users and items, as ``prepare`` takes them from a table.

An id is text. Space around it does not count; whole numbers in a Parquet column of floats (what
pandas makes of integers beside a gap) are the integers that they were: 50, not 50.0.
"""

import polars as pl

MAX_ID_LENGTH = 256
"""Characters; what the service's API takes (``service.api.schemas``)."""

# Beyond it a float no longer tells one whole number from the next.
_LARGEST_WHOLE = 2**53

_WHOLE_NUMBER = "^-?[0-9]+$"


def clean_id(name: str, dtype: pl.DataType) -> pl.Expr:
    """Return a column of ids as text without space around it, null where nothing is left.

    Args:
        name: Of the column, which the result has too.
        dtype: Type of the column in its file.
    """
    column = pl.col(name)
    text = column.cast(pl.String).str.strip_chars()
    if dtype.is_float():
        whole = (column == column.floor()) & (column.abs() <= _LARGEST_WHOLE)
        text = (
            pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(text)
        )
    return pl.when(text == "").then(None).otherwise(text).alias(name)


def id_problems(name: str, dtype: pl.DataType) -> list[tuple[pl.Expr, pl.Expr]]:
    """Say what can be wrong with an id that ``clean_id`` made.

    Args:
        name: Of the column.
        dtype: Type of the column in its file.

    Returns:
        Pairs of a condition and the message where it holds; the first that holds counts.
    """
    column = pl.col(name)
    problems = [
        (column.is_null(), pl.lit(f"field '{name}' is empty")),
        (
            column.str.len_chars() > MAX_ID_LENGTH,
            pl.format(
                f"field '{name}' has {{}} characters; an id has at most {MAX_ID_LENGTH}",
                column.str.len_chars(),
            ),
        ),
    ]
    if dtype.is_float():
        problems.append(
            (
                ~column.str.contains(_WHOLE_NUMBER),
                pl.format(f"field '{name}' is {{}}; expected text or a whole number", column),
            )
        )
    return problems
