"""Paths: the rules hold for any bytes, and a spelling is one printable line that tells paths apart."""

from __future__ import annotations

import os.path

from hypothesis import given
from hypothesis import strategies as st

from dataver.errors import BadInputError
from dataver.paths import RelativePath, check_paths, safe_spelling

PARTS = st.sampled_from(
    [b"a", b"", b".", b"..", b"...", b".dataver", b"\xff", "é".encode(), b"\0", b"\n", b".a"]
)
PATHS = st.one_of(st.binary(max_size=20), st.lists(PARTS, max_size=5).map(b"/".join))


def accepted(path: bytes) -> bool:
    try:
        RelativePath.parse(path)
    except BadInputError:
        return False
    return True


@given(PATHS)
def test_what_is_accepted_stays_below_the_folder_it_is_put_in(path: bytes) -> None:
    if accepted(path):
        assert os.path.normpath(b"/top/" + path) == b"/top/" + path
        assert path.decode().encode() == path
        assert not any(part == b".dataver" for part in path.split(b"/")[:-1])


@given(st.lists(PATHS, max_size=6))
def test_many_are_accepted_exactly_if_each_is(paths: list[bytes]) -> None:
    try:
        check_paths(paths)
    except BadInputError:
        assert not all(map(accepted, paths))
    else:
        assert all(map(accepted, paths))


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_spelling_is_one_printable_line_and_no_other_paths(path: bytes, other: bytes) -> None:
    spelled = safe_spelling(path)
    assert spelled.isprintable()
    if path != other:
        assert spelled != safe_spelling(other)
