"""The page about standards does what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.test_docs import PROJECT, run, steps

if TYPE_CHECKING:
    from pathlib import Path


def test_commands_do_what_the_page_shows(tmp_path: Path) -> None:
    ids: dict[str, str] = {}
    for step in steps((PROJECT / "docs" / "howto" / "standards.md").read_text(encoding="utf-8")):
        wrong = run(step, tmp_path, ids)
        assert wrong is None, wrong
