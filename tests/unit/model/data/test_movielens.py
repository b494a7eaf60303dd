"""MovieLens in each of its forms, from small hand-made files; nothing is fetched from afar."""

import hashlib
import zipfile
from pathlib import Path

import polars as pl
import pytest

from model.data import movielens
from model.data.dataset import Dataset, prepare
from model.data.movielens import write_movielens
from model.errors import InputError

RATINGS = [("196", "242", 3, 881250949), ("186", "302", 3, 891717742), ("196", "302", 5, 881250950)]


def interactions_of(folder: Path) -> list[tuple[object, ...]]:
    return pl.read_csv(folder / "interactions.csv", infer_schema=False).rows()


def items_of(folder: Path) -> list[tuple[object, ...]]:
    return pl.read_csv(folder / "items.csv", infer_schema=False).rows()


def write_100k(folder: Path) -> None:
    text = "\n".join("\t".join(map(str, row)) for row in RATINGS)
    (folder / "u.data").write_text(f"{text}\n")
    flags = {"242": "0|0|0|0|0|1" + "|0" * 13, "302": "0|1|0|0|0|0|1|0|1" + "|0" * 10}
    films = [
        f"242|Kolya (1996)|24-Jan-1997||http://us.imdb.com/M/title-exact?Kolya%20(1996)|{flags['242']}",
        f'302|Café, "L.A." (1997)|01-Jan-1997||http://us.imdb.com/x|{flags["302"]}',
        "267|unknown||||1" + "|0" * 18,
    ]
    (folder / "u.item").write_text("\n".join(films) + "\n", encoding="latin-1")


def test_the_official_100k_is_read(tmp_path: Path) -> None:
    write_100k(tmp_path)
    summary = write_movielens(tmp_path / "out", tmp_path)

    assert summary == {"source": "ml-100k", "interactions": 3, "items": 3}
    assert interactions_of(tmp_path / "out") == [
        ("196", "242", "881250949"),
        ("186", "302", "891717742"),
        ("196", "302", "881250950"),
    ]
    assert items_of(tmp_path / "out") == [
        ("242", "Kolya (1996)", "Comedy"),
        ("302", 'Café, "L.A." (1997)', "Action|Crime|Drama"),
        ("267", "unknown", ""),
    ]


def test_the_official_1m_is_read(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n")
    (tmp_path / "movies.dat").write_text(
        "661::James and the Giant Peach (1996)::Animation|Children's\n1193::Café (1975)::Drama\n",
        encoding="latin-1",
    )
    summary = write_movielens(tmp_path / "out", tmp_path)

    assert summary == {"source": "ml-1m", "interactions": 2, "items": 2}
    assert interactions_of(tmp_path / "out") == [
        ("1", "1193", "978300760"),
        ("1", "661", "978302109"),
    ]
    assert items_of(tmp_path / "out") == [
        ("661", "James and the Giant Peach (1996)", "Animation|Children's"),
        ("1193", "Café (1975)", "Drama"),
    ]


def test_what_is_written_can_be_prepared(tmp_path: Path) -> None:
    write_100k(tmp_path)
    out = tmp_path / "out"
    write_movielens(out, tmp_path)
    prepare(out / "interactions.csv", tmp_path / "data", items=out / "items.csv")

    catalog = Dataset.open(tmp_path / "data").catalog
    assert dict(catalog.select("item_id", "interactions").iter_rows()) == {"302": 2, "242": 1}
    assert catalog["title"][0] == 'Café, "L.A." (1997)'
    assert catalog["category"][0].to_list() == ["Action", "Crime", "Drama"]


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither u\.data \(ml-100k\) nor ratings\.dat"):
        write_movielens(tmp_path / "out", tmp_path)
    (tmp_path / "ratings.dat").write_text("1::1::5::1\n")
    with pytest.raises(InputError, match=r"movies\.dat: no such file"):
        write_movielens(tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("row", ["1::1193::5", "1\t1193\t5\t978300760", "1::2::3::4::5"])
def test_a_rating_of_another_form_is_named(tmp_path: Path, row: str) -> None:
    (tmp_path / "ratings.dat").write_text(f"1::1193::5::978300760\n{row}\n")
    (tmp_path / "movies.dat").write_text("1193::A::Drama\n")

    with pytest.raises(InputError, match=r"ratings\.dat: line 2: expected 4 fields"):
        write_movielens(tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_damaged_100k_is_named(tmp_path: Path) -> None:
    write_100k(tmp_path)
    (tmp_path / "u.data").write_text("196\t242\t3\t881250949\n196 242 3 881250949\n")

    with pytest.raises(InputError, match=r"u\.data: line 2: expected 4 fields"):
        write_movielens(tmp_path / "out", tmp_path)


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    write_100k(tmp_path)
    (tmp_path / "out").mkdir()

    with pytest.raises(InputError, match="exists already"):
        write_movielens(tmp_path / "out", tmp_path)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip looks at."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def write_wheel(folder: Path) -> str:
    """Write a wheel of the name and form of the real one; return its SHA-256."""
    path = folder / "recbole-1.2.1-py3-none-any.whl"
    about = "recbole-1.2.1.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n"
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
        wheel.writestr(
            "recbole/dataset_example/ml-100k/ml-100k.inter",
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n",
        )
        wheel.writestr(
            "recbole/dataset_example/ml-100k/ml-100k.item",
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            '242\t"Kolya" Café\t1996\tComedy Drama\n267\tunknown\t\t\n',
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_known_wheel_is_read(
    tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movielens, "WHEEL_SHA256", write_wheel(wheels))
    summary = write_movielens(tmp_path / "out")

    assert summary == {"source": "recbole==1.2.1", "interactions": 1, "items": 2}
    assert interactions_of(tmp_path / "out") == [("196", "242", "881250949")]
    assert items_of(tmp_path / "out") == [
        ("242", '"Kolya" Café (1996)', "Comedy|Drama"),
        ("267", "unknown", None),
    ]


def test_another_wheel_is_refused(tmp_path: Path, wheels: Path) -> None:
    digest = write_wheel(wheels)

    with pytest.raises(InputError, match=f"SHA-256 is {digest}, expected {movielens.WHEEL_SHA256}"):
        write_movielens(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wheel_that_cannot_be_had_is_one_line_with_a_way_out(
    tmp_path: Path, wheels: Path
) -> None:
    with pytest.raises(InputError) as caught:
        write_movielens(tmp_path / "out")
    message = str(caught.value)

    assert message.startswith("pip cannot download recbole==1.2.1")
    assert "No matching distribution" in message
    assert message.endswith("(or give a folder with the official files: SOURCE=DIR)")
    assert "\n" not in message
