"""A repository behind S3's language, through the store that takes any file system of fsspec."""

from __future__ import annotations

from pathlib import Path

import fsspec

from dataver.repository import init, open_repository
from tests.worlds import noise, text

FILES = {"a.txt": text("a", 3_000), "sub/noise.bin": noise("n", 700_000), "empty": b""}


def test_versions_in_a_bucket(s3: str, tmp_path: Path) -> None:
    for name, data in FILES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    repository = init(s3)
    assert repository.commit("d", tmp_path / "data").version == "v1"
    (tmp_path / "data" / "a.txt").write_text("changed")
    assert repository.commit("d", tmp_path / "data").version == "v2"
    version = open_repository(s3).version("d@v1")
    assert {entry.path: version.read(entry.path) for entry in version.files()} == FILES
    with fsspec.open("dataver://d@v2/a.txt", repo=s3) as file:
        assert file.read() == b"changed"
    assert version.checkout(tmp_path / "out").files == 3
    assert repository.verify(deep=True).ok
    assert all(check.ok for check in repository.doctor())


def test_a_folder_of_a_bucket_is_a_source(s3: str, tmp_path: Path) -> None:
    source = s3.replace("repository", "source")
    fs, root = fsspec.core.url_to_fs(source)
    fs.pipe({f"{root}/{name}": data for name, data in FILES.items()})
    repository = init(str(tmp_path / "repository"))
    assert repository.commit("d", source).changed.added == 3
    assert not repository.commit("d", source).created
    fs.pipe(f"{root}/a.txt", b"changed")
    again = repository.commit("d", source)
    assert (again.changed.modified, again.new_bytes) == (1, 7)
    assert repository.version("d@v1").read("sub/noise.bin") == FILES["sub/noise.bin"]


def test_versions_go_to_a_bucket_and_come_back(s3: str, tmp_path: Path) -> None:
    for name, data in FILES.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    here, there = init(str(tmp_path / "here")), init(s3)
    here.commit("d", tmp_path / "data", tags=["paper"])
    (tmp_path / "data" / "a.txt").write_text("changed")
    here.commit("d", tmp_path / "data")
    assert here.push(to=s3).versions == 2
    assert here.push(to=there).versions == 0
    assert there.verify(deep=True).ok
    back = init(str(tmp_path / "back"))
    assert back.pull(source=s3, depth=1).versions == 1
    assert back.pull(source=s3).versions == 1
    assert back.refs("d") == here.refs("d")
    version = back.version("d@paper")
    assert {entry.path: version.read(entry.path) for entry in version.files()} == FILES
    assert back.verify(deep=True).ok
