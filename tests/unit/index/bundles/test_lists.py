from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from index.bundles.lists import ListColumn, TextColumn, list_tensors, text_tensors
from index.tensor_files import open_tensors, write_tensors


@given(st.lists(st.text(st.characters(codec=None), max_size=5), max_size=8))
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    column = TextColumn(text_tensors("title", texts), "title")

    assert len(column) == len(texts)
    assert column.take(np.arange(len(texts))) == texts
    assert column.take(np.arange(len(texts))[::-1]) == texts[::-1]


@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=4), max_size=8))
def test_lists_come_back_as_they_were(lists: list[list[int]]) -> None:
    arrays = [np.array(each, dtype=np.int64) for each in lists]

    column = ListColumn(list_tensors("rows", arrays, np.int32), "rows")

    assert len(column) == len(lists)
    assert [column[row].tolist() for row in range(len(lists))] == lists


def test_columns_live_in_one_mapped_file(tmp_path: Path) -> None:
    lists = [np.array([1, 2]), np.array([], dtype=np.int64)]
    tensors = {**text_tensors("id", ["é", ""]), **list_tensors("rows", lists, np.uint32)}
    write_tensors(tmp_path / "table", tensors)

    opened = open_tensors(tmp_path / "table")

    assert TextColumn(opened, "id").take(np.array([0, 1])) == ["é", ""]
    assert ListColumn(opened, "rows")[0].tolist() == [1, 2]
