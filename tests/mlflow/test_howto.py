"""The page about MLflow does what it shows, against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.test_docs import PROJECT, run, steps

if TYPE_CHECKING:
    import pytest


def test_commands_do_what_the_page_shows(
    tracking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    found = steps((PROJECT / "docs" / "howto" / "mlflow.md").read_text(encoding="utf-8"))
    ids: dict[str, str] = {}
    for step in found:
        wrong = run(step, tmp_path, ids)
        assert wrong is None, wrong
