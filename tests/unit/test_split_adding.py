from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import dataver
from dataver.errors import AlreadyExistsError, BadInputError
from dataver.splits.adding import add_definition, definition_text
from dataver.splits.definition import Split, load

names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
columns = st.lists(texts, min_size=1, max_size=3, unique=True)
SPLITS = st.one_of(
    st.builds(
        lambda c, s, p: dataver.HashSplit(c, salt=s, path=p, parts={"a.b": 0.25, "c": "0.75"}),
        columns,
        texts,
        texts,
    ),
    st.builds(lambda c, p: dataver.TimeSplit(c, parts={p: "2024-01-01.."}), texts, names),
    st.builds(
        lambda c, parts: dataver.ColumnSplit(c, parts=parts),
        texts,
        st.dictionaries(names, texts, max_size=3).filter(lambda d: len(set(d.values())) == len(d)),
    ),
    st.builds(
        lambda parts: dataver.ListSplit(keys=["k"], rest="other-rest", parts=parts),
        st.dictionaries(
            names,
            texts.filter(bool)
            | st.lists(st.integers(-(2**63), 2**63 - 1) | texts | st.booleans(), min_size=1, max_size=4),
            min_size=1,
            max_size=3,
        ),
    ),
)


@given(names, SPLITS)
@example("a", dataver.ColumnSplit(""))  # a column may be called so
def test_what_is_written_is_what_is_read(name: str, definition: Split) -> None:
    assert load(definition_text(name, definition).encode(), "x.toml") == {name: definition}


def test_definitions_are_appended_and_nothing_else_changes(tmp_path: Path) -> None:
    file = tmp_path / "splits.toml"
    file.write_text("# ours\n[a]\nkind = 'column'\ncolumn = 'x' # why\n")
    before = file.read_text()
    one = dataver.HashSplit(keys=["id"], train=0.5, test=0.5)
    add_definition(str(file), "b", one)
    assert file.read_text().startswith(before)
    assert list(load(file.read_bytes(), "x")) == ["a", "b"]
    after = file.read_text()
    add_definition(str(file), "b", one)
    assert file.read_text() == after
    with pytest.raises(AlreadyExistsError, match="defines 'b' otherwise"):
        add_definition(str(file), "b", dataver.HashSplit(keys=["id"], train=0.6, test=0.4))
    assert file.read_text() == after
    assert os.listdir(tmp_path) == ["splits.toml"]


@pytest.mark.parametrize("text", ["kind = 'column'\ncolumn = 'x'", "no toml", "[a]\nkind = 'none'", b"\xff"])
def test_files_that_cannot_be_added_to(tmp_path: Path, text: Any) -> None:
    file = tmp_path / "splits.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = file.read_bytes()
    with pytest.raises(BadInputError):
        add_definition(str(file), "b", dataver.ColumnSplit("x"))
    assert file.read_bytes() == before
