"""The demo's data: MovieLens as ``interactions.csv`` and ``items.csv``.

MovieLens 100K comes from the PyPI wheel ``recbole==1.2.1``, which carries it as an example: the
wheel is downloaded by pip as configured, checked, and read as an archive; it is never installed
or imported. A folder with the official ml-100k or ml-1m files is taken as well. Ratings count as
interactions, whatever their value.

F. Maxwell Harper and Joseph A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS
5(4), 2015.
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from model.data.items import CATEGORY_SEPARATOR
from model.errors import InputError
from model.files import new_folder

WHEEL = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
_DOWNLOAD = ("download", "--quiet", "--no-deps", "--only-binary=:all:")
_IN_WHEEL = "recbole/dataset_example/ml-100k/ml-100k"

# u.item of ml-100k ends in one 0/1 column for each of these, in this order.
_GENRES = (
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy"
    "|Film-Noir|Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"
).split(CATEGORY_SEPARATOR)
_FIRST_GENRE_COLUMN = 5

_RATINGS = ("user_id", "item_id", "rating", "timestamp")
_MOVIES = ("item_id", "title", "category")


def write_movielens(out: Path, source: Path | None = None) -> dict[str, Any]:
    """Write ``out/interactions.csv`` and ``out/items.csv``.

    Args:
        out: The folder to make; must not exist.
        source: A folder with the official files of ml-100k (``u.data``, ``u.item``) or ml-1m
            (``ratings.dat``, ``movies.dat``); without it, MovieLens 100K from the wheel.

    Returns:
        Where the data came from and how much there is.

    Raises:
        InputError: ``source`` lacks the files, or the wheel cannot be had or is not the known one.
    """
    if source is None:
        ratings, movies, name = *_from_wheel(), WHEEL
    elif (source / "u.data").is_file():
        ratings, movies, name = *_official_100k(source), "ml-100k"
    elif (source / "ratings.dat").is_file():
        ratings, movies, name = *_official_1m(source), "ml-1m"
    else:
        raise InputError(
            f"{source}: neither u.data (ml-100k) nor ratings.dat (ml-1m) is there; "
            "SOURCE is the folder with the official files"
        )
    with new_folder(out) as staging:
        ratings.select("user_id", "item_id", "timestamp").write_csv(staging / "interactions.csv")
        movies.select("item_id", "title", "category").write_csv(staging / "items.csv")
    return {"source": name, "interactions": ratings.height, "items": movies.height}


def _from_wheel() -> tuple[pl.DataFrame, pl.DataFrame]:
    with tempfile.TemporaryDirectory() as folder:
        _download_wheel(Path(folder))
        wheel = next(Path(folder).glob("*.whl"), None)
        if wheel is None:
            raise InputError(f"pip downloaded no wheel of {WHEEL}")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if digest != WHEEL_SHA256:
            raise InputError(f"{wheel.name}: SHA-256 is {digest}, expected {WHEEL_SHA256}")
        with zipfile.ZipFile(wheel) as archive:
            ratings = _recbole_table(archive.read(f"{_IN_WHEEL}.inter"))
            movies = _recbole_table(archive.read(f"{_IN_WHEEL}.item"))
    title = pl.col("movie_title")
    year = pl.col("release_year")
    return ratings, movies.select(
        "item_id",
        pl.when(year.str.contains(r"^\d{4}$"))
        .then(pl.format("{} ({})", title, year))
        .otherwise(title)
        .alias("title"),
        pl.col("class").str.replace_all(" ", CATEGORY_SEPARATOR).alias("category"),
    )


def _download_wheel(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, *_DOWNLOAD, "--dest", str(folder), WHEEL],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
        raise InputError(
            f"pip cannot download {WHEEL}, which carries the demo data: {reason} "
            "(or give a folder with the official files: SOURCE=DIR)"
        )


def _recbole_table(content: bytes) -> pl.DataFrame:
    """Read a table of RecBole: tab-separated, columns named ``name:type``."""
    table = pl.read_csv(io.BytesIO(content), separator="\t", infer_schema=False, quote_char=None)
    return table.rename(lambda column: column.partition(":")[0])


def _official_100k(source: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    films = _rows(source / "u.item", "|", _FIRST_GENRE_COLUMN + len(_GENRES))
    movies = [(film[0], film[1], _genres(film[_FIRST_GENRE_COLUMN:])) for film in films]
    return _ratings(source / "u.data", "\t"), _movies(movies)


def _official_1m(source: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    movies = _rows(source / "movies.dat", "::", len(_MOVIES))
    return _ratings(source / "ratings.dat", "::"), _movies(movies)


def _genres(flags: Sequence[str]) -> str:
    names = [genre for genre, flag in zip(_GENRES, flags, strict=True) if flag == "1"]
    return CATEGORY_SEPARATOR.join(name for name in names if name != "unknown")


def _ratings(path: Path, separator: str) -> pl.DataFrame:
    rows = _rows(path, separator, len(_RATINGS))
    return pl.DataFrame(rows, schema=dict.fromkeys(_RATINGS, pl.String), orient="row")


def _movies(rows: Sequence[Sequence[str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(_MOVIES, pl.String), orient="row")


def _rows(path: Path, separator: str, n_fields: int) -> list[list[str]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; SOURCE is the folder with the official files")
    rows = []
    for number, line in enumerate(path.read_text(encoding="latin-1").split("\n"), start=1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split(separator)
        if len(fields) != n_fields:
            raise InputError(
                f"{path}: line {number}: expected {n_fields} fields separated by "
                f"{separator!r}, found {len(fields)}"
            )
        rows.append(fields)
    return rows
