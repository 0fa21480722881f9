"""The golden repository of each released format: read for ever, and written again to the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import zstandard

from dataver.repository import Repository, open_repository
from tests.golden.make_v1 import LINES, make, noise, write_files

V1 = Path(__file__).parent / "v1"
ZSTD_OF_V1 = (1, 5, 7)
"""The release of libzstd that encoded it. Another one may encode the same frames to other bytes."""


def objects(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def golden(tmp_path: Path) -> Repository:
    shutil.copytree(V1, tmp_path / "v1")
    return open_repository(str(tmp_path / "v1"))


def test_written_again_to_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path / "again", tmp_path / "work")
    written, stored = objects(tmp_path / "again"), objects(V1)
    if zstandard.ZSTD_VERSION == ZSTD_OF_V1:
        assert written == stored
    else:
        # Log entries name packs, whose names follow the encoder's bytes: only counts are comparable.
        assert sorted(key.split("/")[0] for key in written) == sorted(key.split("/")[0] for key in stored)


def test_every_byte_verifies(golden: Repository) -> None:
    report = golden.verify(deep=True)
    assert report.ok, report.damaged
    assert report.objects > 100


def test_files_are_those_that_went_in(golden: Repository, tmp_path: Path) -> None:
    write_files(tmp_path / "want")
    golden.checkout("iris@v1", tmp_path / "got")
    want, got = tmp_path / "want", tmp_path / "got"
    assert objects(want) == objects(got)
    assert (got / "empty folder").is_dir()
    assert (got / "link").is_symlink()
    assert (got / "script").stat().st_mode & 0o100
    assert golden.version("iris@v1").read("table.csv") == LINES
    assert golden.version("iris@v1").read("deep/er/noise") == noise("noise", 700_000)


def test_history_and_names(golden: Repository) -> None:
    versions = list(golden.log("iris"))
    assert [v.version for v in versions if v.version] == ["v4", "v3", "v2", "v1"]
    assert golden.show("iris@v1").tags == ["paper"]
    assert golden.show("iris@v3").aliases == ["prod"]
    assert len(golden.show("iris@v3").parents) == 2
    assert golden.show("iris@v4").tree == golden.show("iris@v1").tree
    assert [info.name for info in golden.datasets()] == ["iris", "vision/photos"]
    assert golden.show("vision/photos").version == "v61"


def test_a_new_version_can_follow(golden: Repository, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "file").write_bytes(b"new")
    assert golden.commit("iris", tmp_path / "more", add=True).version == "v5"
    assert golden.verify(deep=True).ok
