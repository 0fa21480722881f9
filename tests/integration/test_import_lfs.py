"""What git-lfs keeps, by its specification: pointers in git, and objects by their SHA-256."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver import events
from dataver.errors import BadInputError, ConflictError, DamagedError, PathNotFoundError
from dataver.integrations.importing.from_dvc import Asked
from dataver.integrations.importing.lfs import EXTENDED, import_git_lfs, pointer
from dataver.integrations.importing.report import Report
from dataver.integrations.telemetry.facts import facts_before
from dataver.outcome import make_label
from dataver.progress import observe_with
from dataver.repository import Repository
from dataver.results import CommitResult
from tests.integration.test_docs import Step, run, section


class Photos:
    """A git repository with files of git-lfs, as `git lfs` itself makes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = folder / ".git" / "lfs" / "objects"
        folder.mkdir()
        self.git("init", "-q", "-b", "trunk")
        self.git("config", "user.name", "Bob Example")
        self.git("config", "user.email", "bob@example.org")
        (folder / ".gitattributes").write_text("*.png filter=lfs diff=lfs merge=lfs -text\n")
        self.moment = 1_700_000_000

    def git(self, *arguments: str, **variables: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True,
            env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"} | variables,
        ).stdout  # fmt: skip

    def put(self, path: str, data: bytes) -> str:
        """A file that git-lfs keeps; its SHA-256."""
        oid = hashlib.sha256(data).hexdigest()
        place = self.objects / oid[:2] / oid[2:4] / oid
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n"
        self.write(path, text.encode())
        return oid

    def write(self, path: str, data: bytes) -> Path:
        """A file of git's own."""
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return place

    def commit(self, message: str = "change", *tags: str) -> str:
        self.git("add", "-A")
        self.moment += 86_400
        when = f"{self.moment} -0330"
        self.git(
            "commit", "-q", "-m", message, "--author", "Ada Example <ada@example.org>", "--date", when,
            GIT_COMMITTER_DATE=when,
        )  # fmt: skip
        for tag in tags:
            self.git("tag", "-a", "-m", "a tag", tag)
        return self.git("rev-parse", "HEAD").strip()


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    return Photos(tmp_path / "my photos")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return dataver.init(str(tmp_path / "repository"))


def take(
    repository: Repository, photos: Photos, *pathspecs: str, all_files: bool = False, **more: Any
) -> Report:
    return import_git_lfs(repository, Asked(str(photos.folder), **more), pathspecs, all_files=all_files)


def contents(repository: Repository, ref: str) -> dict[str, bytes]:
    version = repository.version(ref)
    return {file.path: version.read(file.path) for file in version.files()}


def test_every_commit_of_a_file_is_a_version(photos: Photos, repository: Repository) -> None:
    one = photos.put("raw/1.png", b"\x89PNG one")
    first = photos.commit("first", "paper")
    photos.write("README.md", b"words\n")
    photos.commit("git's own")
    photos.put("raw/1.png", b"\x89PNG two" * 500_000)
    photos.put("raw/2.png", b"\x89PNG other")
    (photos.folder / "raw" / "2.png").chmod(0o755)
    photos.commit("second", "v2")
    photos.git("rm", "-q", "raw/1.png")
    photos.commit("third")

    report = take(repository, photos)
    assert [(made.dataset, made.version) for made in report.versions] == [
        ("my-photos", "v1"), ("my-photos", "v2"), ("my-photos", "v3"),
    ]  # fmt: skip
    assert contents(repository, "my-photos@v1") == {"raw/1.png": b"\x89PNG one"}
    assert contents(repository, "my-photos@v2") == {
        "raw/1.png": b"\x89PNG two" * 500_000,
        "raw/2.png": b"\x89PNG other",
    }
    assert contents(repository, "my-photos@v3") == {"raw/2.png": b"\x89PNG other"}
    assert [file.executable for file in repository.version("my-photos@v3").files()] == [True]
    shown = repository.show("my-photos@v1")
    assert (shown.author, shown.message) == ("Ada Example <ada@example.org>", "first")
    assert shown.time.isoformat() == "2023-11-15T22:13:20+00:00"
    assert (shown.meta["git.commit"], shown.meta["git-lfs.sha256"]) == (first, one)
    assert (shown.tags, repository.show("my-photos@v2").tags) == (["paper"], ["git-v2"])


def test_the_digest_of_many_is_that_of_sha256sum(photos: Photos, repository: Repository) -> None:
    photos.put("b.png", b"b")
    photos.put("a.png", b"a")
    photos.commit()
    take(repository, photos, dataset="it")
    folder = repository.version("it")
    folder.checkout(photos.folder.parent / "out")
    sums = subprocess.run(
        ["sha256sum", "a.png", "b.png"], cwd=photos.folder.parent / "out", check=True, capture_output=True
    ).stdout
    assert repository.show("it").meta["git-lfs.sha256sums"] == hashlib.sha256(sums).hexdigest()


def test_with_all_files_a_folder_is_whole(photos: Photos, repository: Repository) -> None:
    photos.put("1.png", b"\x89PNG one")
    photos.write("empty.png", b"")
    photos.write("labels.csv", b"1,cat\n")
    photos.write("big.bin", b"0123456789" * 300_000)
    (photos.folder / "link").symlink_to("labels.csv")
    photos.commit()
    take(repository, photos, all_files=True)
    version = repository.version("my-photos")
    version.checkout(photos.folder.parent / "out")
    out = photos.folder.parent / "out"
    assert (out / "1.png").read_bytes() == b"\x89PNG one"
    assert (out / "big.bin").read_bytes() == b"0123456789" * 300_000
    assert os.readlink(out / "link") == "labels.csv"
    assert sorted(os.listdir(out)) == [
        ".gitattributes",
        "1.png",
        "big.bin",
        "empty.png",
        "labels.csv",
        "link",
    ]
    photos.write("labels.csv", b"1,dog\n")
    photos.commit()
    assert [made.version for made in take(repository, photos, all_files=True).versions] == ["v2"]


def test_pathspecs_choose_and_stay_apart(photos: Photos, repository: Repository) -> None:
    photos.put("raw/1.png", b"1")
    photos.put("clean/1.png", b"2")
    photos.commit()
    assert take(repository, photos, "raw", dataset="raw").versions[0].files == 1
    assert take(repository, photos, "*.png", ":!raw", dataset="clean").versions[0].files == 1
    assert list(contents(repository, "clean")) == ["clean/1.png"]
    with pytest.raises(ConflictError, match="--dataset"):
        take(repository, photos, "clean", dataset="raw")


def test_again_goes_on_where_history_grew(photos: Photos, repository: Repository) -> None:
    for number in range(3):
        photos.put("1.png", b"%d" % number)
        photos.commit(str(number), f"t{number}")
    assert len(take(repository, photos, revision="HEAD~1").versions) == 2
    report = take(repository, photos)
    assert ([made.version for made in report.versions], report.known) == (["v3"], 2)
    assert take(repository, photos).versions == []
    assert [info.tags for info in repository.log("my-photos")] == [["t2"], ["t1"], ["t0"]]


def test_a_version_has_the_files_of_its_commit_where_history_was_written_anew(
    photos: Photos, repository: Repository
) -> None:
    photos.put("1.png", b"1")
    photos.commit("one")
    photos.put("2.png", b"2")
    photos.commit("two")
    take(repository, photos)
    photos.git("reset", "-q", "--hard", "HEAD~1")
    photos.put("3.png", b"3")
    commit = photos.commit("another two")
    assert [made.version for made in take(repository, photos, dry_run=True).versions] == [None]
    assert [made.version for made in take(repository, photos).versions] == ["v3"]
    assert repository.show("my-photos").meta["git.commit"] == commit
    assert contents(repository, "my-photos") == {"1.png": b"1", "3.png": b"3"}
    photos.git("commit", "-q", "--amend", "-m", "with other words")
    assert [made.created for made in take(repository, photos).versions] == [False]
    assert take(repository, photos, revision="HEAD~1").versions == []


def test_what_was_committed_by_hand_is_not_mixed_with_what_is_imported(
    photos: Photos, repository: Repository, tmp_path: Path
) -> None:
    photos.put("1.png", b"1")
    photos.commit("one")
    take(repository, photos)
    by_hand = tmp_path / "by hand"
    by_hand.mkdir()
    (by_hand / "notes.txt").write_text("by hand")
    repository.commit("my-photos", by_hand, add=True)
    assert take(repository, photos).versions == []
    photos.put("2.png", b"2")
    photos.commit("two")
    for dry_run in (True, False):
        with pytest.raises(ConflictError, match="not imported from these commits"):
            take(repository, photos, dry_run=dry_run)
    assert set(contents(repository, "my-photos")) == {"1.png", "notes.txt"}
    assert [made.version for made in take(repository, photos, branch="git").versions] == [None, None]


def test_another_import_meanwhile_is_told(
    photos: Photos, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a tag of the second commit would be at the version of the third, which the head is by then."""
    photos.put("1.png", b"1")
    photos.commit("one")
    take(repository, photos)
    for number in (2, 3):
        photos.put(f"{number}.png", b"%d" % number)
        photos.commit(str(number), f"t{number}")

    def between(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        take(dataver.open(repository.url), photos)
        return make_label(*arguments, **options)

    monkeypatch.setattr("dataver.integrations.importing.importer.make_label", between)
    with pytest.raises(ConflictError, match="perhaps by another import"):
        take(repository, photos)
    assert take(repository, photos).known == 3
    assert [info.tags for info in repository.log("my-photos")] == [["t3"], ["t2"], []]


def test_what_chooses_nothing_is_told(photos: Photos, repository: Repository) -> None:
    photos.write("labels.csv", b"1,cat\n")
    photos.commit("before git-lfs")
    with pytest.raises(PathNotFoundError, match="no file of git-lfs"):
        take(repository, photos)
    assert len(take(repository, photos, all_files=True, dataset="all").versions) == 1
    photos.put("1.png", b"1")
    photos.commit("one")
    with pytest.raises(PathNotFoundError, match="is in other in these commits"):
        take(repository, photos, "other")
    photos.write("labels.csv", b"2,dog\n")
    photos.commit("git's own")
    assert take(repository, photos, revision="HEAD~1..").versions == []  # It is there, and did not change.


def test_what_was_left_out_before_is_told(photos: Photos, repository: Repository) -> None:
    for number in range(3):
        photos.put("1.png", b"%d" % number)
        photos.commit(str(number))
    assert take(repository, photos, revision="HEAD~1..").passed_over == 0
    report = take(repository, photos)
    assert (report.versions, report.known, report.passed_over) == ([], 1, 2)
    assert take(repository, photos, dataset="all").passed_over == 0


def test_a_change_meanwhile_is_told(
    photos: Photos, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos.put("1.png", b"1")
    photos.commit("one")
    take(repository, photos)
    photos.put("2.png", b"2")
    photos.commit("two")
    by_hand = tmp_path / "by hand"
    by_hand.mkdir()
    (by_hand / "notes.txt").write_text("by hand")

    def between(*arguments: Any, **options: Any) -> Any:
        repository.commit("my-photos", by_hand, add=True)
        return make_label(*arguments, **options)

    monkeypatch.setattr("dataver.integrations.importing.importer.make_label", between)
    with pytest.raises(ConflictError, match=r"while commit .* was imported: v3 has that change too"):
        take(repository, photos)


def test_new_versions_are_told_to_whoever_listens(
    photos: Photos, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    observed: list[tuple[str, str, str]] = []

    class Listener:
        def version_committed(self, repository: Repository, result: CommitResult) -> None:
            told.append(f"{result.dataset}@{result.version}")

    class Watcher:
        def began(self, operation: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
            assert facts_before(arguments)["dataver.repository.id"] == repository.id
            return operation, arguments.get("dataset", "")

        def ended(self, begun: tuple[str, str], result: Any, error: BaseException | None) -> None:
            if begun[0] == "commit":
                observed.append((*begun, result.version))

    monkeypatch.setattr(events, "_loaded", [])
    monkeypatch.setattr(events, "_registered", [Listener()])
    for number in (1, 2):
        photos.put("1.png", b"%d" % number)
        photos.commit(str(number))
    before = observe_with(Watcher())
    try:
        take(repository, photos, dry_run=True)
        assert (told, observed) == ([], [])
        take(repository, photos)
        take(repository, photos)
    finally:
        observe_with(before)
    assert told == ["my-photos@v1", "my-photos@v2"]
    assert observed == [("commit", "my-photos", "v1"), ("commit", "my-photos", "v2")]


def test_only_a_range(photos: Photos, repository: Repository) -> None:
    photos.put("old.png", b"old")
    photos.commit("old", "from")
    for number in range(2):
        photos.put("1.png", b"%d" % number)
        photos.commit(str(number))
    report = take(repository, photos, revision="from..")
    assert [made.files for made in report.versions] == [2, 2]
    assert contents(repository, "my-photos@v1") == {"1.png": b"0", "old.png": b"old"}


def test_branches(photos: Photos, repository: Repository) -> None:
    photos.put("1.png", b"1")
    photos.commit("one")
    photos.git("checkout", "-q", "-b", "side")
    photos.put("2.png", b"2")
    photos.commit("on the side")
    photos.git("checkout", "-q", "trunk")
    photos.put("3.png", b"3")
    photos.commit("three")
    report = take(repository, photos, every=True)
    assert [(made.branch, made.version) for made in report.versions] == [
        ("main", "v1"), ("main", "v2"), ("side", None),
    ]  # fmt: skip
    assert set(contents(repository, "my-photos")) == {"1.png", "3.png"}
    assert set(contents(repository, "my-photos@side")) == {"1.png", "2.png"}
    assert [info.message for info in repository.log("my-photos@side")] == ["on the side", "one"]
    assert take(repository, photos, every=True).versions == []

    report = take(repository, photos, every=True, dataset="apart", branch="trunk")
    assert [(made.branch, made.version) for made in report.versions] == [
        ("trunk", None), ("trunk", None), ("side", None),
    ]  # fmt: skip
    assert [info.message for info in repository.log("apart@side")] == ["on the side", "one"]
    assert take(repository, photos, every=True, dataset="apart", branch="trunk").versions == []


def test_a_worktree_shares_the_objects(photos: Photos, repository: Repository, tmp_path: Path) -> None:
    photos.put("1.png", b"1")
    photos.commit()
    photos.git("worktree", "add", "-q", str(tmp_path / "other"), "HEAD")
    report = import_git_lfs(repository, Asked(str(tmp_path / "other"), dataset="it"))
    assert [made.files for made in report.versions] == [1]


def test_the_objects_may_be_elsewhere(photos: Photos, repository: Repository, tmp_path: Path) -> None:
    photos.put("1.png", b"1")
    photos.commit()
    (photos.folder / ".git" / "lfs").rename(tmp_path / "store")
    with pytest.raises(PathNotFoundError, match=r"1\.png"):
        take(repository, photos)
    photos.git("config", "lfs.storage", str(tmp_path / "store"))
    assert len(take(repository, photos).versions) == 1


def test_missing_and_damaged_objects(photos: Photos, repository: Repository) -> None:
    oid = photos.put("1.png", b"1")
    photos.commit()
    photos.put("1.png", b"2")
    photos.commit()
    place = photos.objects / oid[:2] / oid[2:4] / oid
    place.write_bytes(b"x")
    with pytest.raises(DamagedError, match=r"1\.png"):
        take(repository, photos)
    assert repository.datasets() == []
    place.unlink()
    with pytest.raises(PathNotFoundError, match=oid):
        take(repository, photos)
    report = take(repository, photos, skip_missing=True)
    assert ([one.digest for one in report.missing], len(report.versions)) == ([oid], 1)


def test_a_url_is_to_be_cloned_first(repository: Repository, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "bare.git")], check=True)
    with pytest.raises(BadInputError, match=r"git cannot read"):
        import_git_lfs(repository, Asked(f"file://{tmp_path}/bare.git"))
    with pytest.raises(PathNotFoundError):
        import_git_lfs(repository, Asked("https://127.0.0.1:1/none.git"))


OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n"


def test_pointers() -> None:
    assert pointer(POINTER.encode()) == OID
    extended = POINTER.replace("oid", f"ext-0-foo sha256:{OID}\noid")
    assert pointer(extended.encode()) == EXTENDED
    for other in (
        b"", b"\xff", b"version https://git-lfs.github.com/spec/v1", POINTER.replace("12345", "-1").encode(),
        POINTER.replace("sha256", "md5").encode(), POINTER.upper().encode(), b"words\n" + POINTER.encode(),
        (POINTER + POINTER).encode(), POINTER.replace(OID, "../../etc/passwd").encode(),
    ):  # fmt: skip
        assert pointer(other) is None


def test_files_of_extensions_are_left_out(photos: Photos, repository: Repository) -> None:
    photos.put("1.png", b"1")
    photos.write("2.png", POINTER.replace("oid", f"ext-0-foo sha256:{OID}\noid").encode())
    photos.commit()
    report = take(repository, photos)
    assert [one.file for one in report.refused] == ["2.png"]
    assert list(contents(repository, "my-photos")) == ["1.png"]


def test_files_that_no_version_can_hold_are_left_out_and_told(photos: Photos, repository: Repository) -> None:
    photos.put("1.png", b"1")
    photos.commit("zero")
    photos.put(os.fsdecode(b"bad\xff.png"), b"bad")
    photos.put("2.png", b"2")
    photos.write("sub/.dataver/format", b"of a repository")
    commit = photos.commit("one")
    photos.git("rm", "-q", os.fsdecode(b"bad\xff.png"))
    photos.put("3.png", b"3")
    photos.commit("two")
    for dry_run in (True, False):
        report = take(repository, photos, dry_run=dry_run)
        assert [made.files for made in report.versions] == [1, 2, 3]
        (refused,) = report.refused
        assert (refused.file, refused.commit) == ("bad\\xff.png", commit)
        assert "not UTF-8" in refused.reason
    assert take(repository, photos).versions == []
    report = take(repository, photos, dataset="whole", all_files=True)
    assert [one.file for one in report.refused] == ["bad\\xff.png", "sub/.dataver/format"]
    assert set(contents(repository, "whole")) == {".gitattributes", "1.png", "2.png", "3.png"}
    report = take(repository, photos, dataset="later", revision="HEAD~1..")
    assert [(one.file, one.commit) for one in report.refused] == [("bad\\xff.png", commit)]


def test_commands_do_what_the_page_shows(tmp_path: Path) -> None:
    photos = Photos(tmp_path / "photos")
    photos.put("raw/1.png", b"one\n")
    photos.write("raw/labels.csv", b"1,cat\n")
    photos.commit("one", "paper")
    photos.put("raw/2.png", b"two 2")
    photos.commit("two")
    folder, ids = tmp_path / "here", dict[str, str]()
    folder.mkdir()
    found = section("howto/import.md", "git-lfs")
    assert len(found) == 4
    for step in [Step(("dataver", "init"), None), *found]:
        wrong = run(step, folder, ids)
        assert wrong is None, wrong
