"""The page about TensorBoard does what it shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.test_docs import PROJECT, run, steps

if TYPE_CHECKING:
    import pytest


def test_commands_do_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATAVER_REPO", "DATAVER_TENSORBOARD_LOGDIR"):
        monkeypatch.delenv(name, raising=False)
    ids: dict[str, str] = {}
    for step in steps((PROJECT / "docs" / "howto" / "tensorboard.md").read_text(encoding="utf-8")):
        wrong = run(step, tmp_path, ids)
        assert wrong is None, wrong
