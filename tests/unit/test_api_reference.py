"""The page of the Python interface is made from the code, and has all of it."""

from __future__ import annotations

from pathlib import Path

import dataver
from dataver.cli import api_reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == api_reference.reference(), (
        "docs/reference/api.md is stale: python -m dataver.cli.api_reference > docs/reference/api.md"
    )


def test_every_public_member_has_a_heading_and_a_docstring() -> None:
    page = api_reference.reference()
    for cls in (dataver.Repository, dataver.Version):
        for name, member in vars(cls).items():
            if name.startswith("_") or name in api_reference.INTERNAL:
                continue
            assert f"\n### {cls.__name__}.{name}\n" in page
            assert member.__doc__


def test_a_long_signature_has_a_line_for_each_parameter() -> None:
    def short(self: object, a: int, *, b: str = "x") -> None: ...

    def long(self: object, a_name_that_takes_room: int, *, another: str, **all_the_others: float) -> None: ...

    assert api_reference.signature("short", short) == "short(a: int, *, b: str = 'x') -> None"
    assert api_reference.signature("a_name_that_takes_room_too", long).split("\n") == [
        "a_name_that_takes_room_too(",
        "    a_name_that_takes_room: int,",
        "    *,",
        "    another: str,",
        "    **all_the_others: float,",
        ") -> None",
    ]
