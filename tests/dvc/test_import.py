"""What real DVC keeps comes over byte for byte: each version is what `dvc checkout` gives at its commit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataver.integrations.importing.names import mark
from tests.dvc.conftest import Program, Project, files_below


def imported(program: Program, *arguments: str) -> list[tuple[str, str | None, str]]:
    """Dataset, version and commit of what an import made."""
    document = program.json("import", "dvc", *arguments)
    return [(one["dataset"], one["version"], one["commit"]) for one in document["versions"]]


def versions(program: Program, ref: str) -> list[dict[str, Any]]:
    """Oldest first."""
    found: list[dict[str, Any]] = program.json("log", ref)["versions"]
    return found[::-1]


def assert_as_dvc_has_it(program: Program, project: Project, tmp_path: Path, ref: str) -> None:
    """Each version of a ref is what DVC checks out at the commit it was made of."""
    for number, version in enumerate(versions(program, ref)):
        meta = version["meta"]
        output = project.top / meta["dvc.output"]
        project.git("checkout", "-q", meta["git.commit"])
        if output.is_dir():
            shutil.rmtree(output)  # Else what did not change stays, with a mode that DVC does not know.
        project.dvc("checkout", "-q", "--force")
        target = tmp_path / "checked-out" / f"{version['dataset']}-{number}"
        program.run("checkout", f"{version['dataset']}@{version['id']}", str(target))
        if output.is_dir():
            assert files_below(target) == files_below(output)
        else:
            assert files_below(target) == {output.name: files_below(output.parent)[output.name]}
    project.git("checkout", "-q", "trunk")


def test_every_commit_of_an_output_is_a_version(program: Program, project: Project, tmp_path: Path) -> None:
    project.write("data/raw.csv", b"a,b\r\n1,2\r\n")
    project.dvc("add", "data/raw.csv")
    first = project.commit("first\n\nwith a reason", tag="paper")
    project.write("data/raw.csv", b"a,b\n3,4\n").chmod(0o755)
    project.dvc("add", "data/raw.csv")
    second = project.commit("second", tag="v1")
    project.write("README.md", b"words\n")
    project.commit("nothing of DVC's", tag="release/1")
    project.write("data/raw.csv", b"a,b\r\n1,2\r\n")
    project.dvc("add", "data/raw.csv")
    third = project.commit("back")

    done = imported(program, str(project.top))
    assert done == [("data/raw.csv", f"v{at}", id) for at, id in enumerate((first, second, third), 1)]
    found = versions(program, "data/raw.csv")
    assert [one["author"] for one in found] == ["Ada Example <ada@example.org>"] * 3
    assert found[0]["message"] == "first\n\nwith a reason"
    assert found[0]["time"] == "2023-11-16T22:13:20.000000Z"
    assert found[0]["meta"]["dvc.md5"] == "b202f333fba4fd38d4b8e5e693077aab"
    assert [one["tags"] for one in found] == [["paper"], ["git-v1", "release-1"], []]
    assert found[0]["tree"] == found[2]["tree"]
    assert_as_dvc_has_it(program, project, tmp_path, "data/raw.csv")


def test_folders_and_odd_names(program: Program, project: Project, tmp_path: Path) -> None:
    project.write("images/a/1.png", b"\0png")
    project.write("images/a/run.sh", b"#!/bin/sh\n").chmod(0o755)
    project.write("images/Größe 'x' #1\n.txt", b"x")
    project.write("images/.hidden", b"")
    project.dvc("add", "images")
    project.commit("images")
    project.write("images/b.png", b"b" * 3_000_000)
    (project.folder / "images" / ".hidden").unlink()
    project.dvc("add", "images")
    project.commit("others")
    project.write("yes", b"1\n")
    project.write("-größe [1].csv", b"2\n")
    project.dvc("add", "yes", "./-größe [1].csv")
    project.commit("names that YAML, options and globs take for something else")

    assert {name for name, _, _ in imported(program, str(project.top))} == {"images", "yes", "gr-e-1-.csv"}
    for ref in ("images", "yes", "gr-e-1-.csv"):
        assert_as_dvc_has_it(program, project, tmp_path, ref)


def test_stages_and_where_they_work(program: Program, project: Project, tmp_path: Path) -> None:
    project.write("rows.csv", b"1\n2\n")
    project.dvc("add", "rows.csv")
    project.write("sub/keep", b"")
    project.write("dvc.yaml", PIPELINE)
    project.dvc("repro", "-q")
    project.commit("first")
    project.write("rows.csv", b"1\n2\n3\n")
    project.dvc("add", "rows.csv")
    project.dvc("repro", "-q")
    project.commit("second")

    made = imported(program, str(project.top), "dvc.yaml")
    assert [(name, version) for name, version, _ in made] == [
        ("sub/count.txt", "v1"), ("sub/count.txt", "v2"), ("sub/parts", "v1"), ("sub/parts", "v2"),
    ]  # fmt: skip
    for ref in ("sub/count.txt", "sub/parts"):
        assert_as_dvc_has_it(program, project, tmp_path, ref)
    # The metrics are git's own; the rest comes when it is asked for.
    assert {name for name, _, _ in imported(program, str(project.top))} == {"rows.csv"}


PIPELINE = b"""\
stages:
  sum:
    wdir: sub
    cmd: wc -l < ../rows.csv > count.txt; mkdir -p parts; cp ../rows.csv parts; echo '{"a":1}' > metrics.json
    deps: [../rows.csv]
    outs: [count.txt, parts]
    metrics:
      - metrics.json:
          cache: false
"""


def test_a_moved_output_stays_one_dataset(program: Program, project: Project, tmp_path: Path) -> None:
    project.write("old.csv", b"1\n")
    project.dvc("add", "old.csv")
    project.commit("old")
    assert [one[:2] for one in imported(program, str(project.top))] == [("old.csv", "v1")]
    project.dvc("move", "old.csv", "new.csv")
    project.commit("moved")
    project.write("new.csv", b"1\n2\n")
    project.dvc("add", "new.csv")
    project.commit("new")
    assert [one[:2] for one in imported(program, str(project.top))] == [("old.csv", "v2"), ("old.csv", "v3")]
    assert_as_dvc_has_it(program, project, tmp_path, "old.csv")


def put(project: Project, path: str, data: bytes) -> None:
    project.write(path, data)
    project.dvc("add", path)


@pytest.mark.parametrize("at_once", [True, False])
def test_an_output_at_the_old_path_of_a_moved_one(
    program: Program, project: Project, tmp_path: Path, at_once: bool
) -> None:
    made: list[tuple[str, str | None, str]] = []

    def commit(message: str, tag: str = "") -> str:
        id = project.commit(message, tag=tag)
        if not at_once:
            made.extend(imported(program, str(project.top)))
        return id

    put(project, "a.csv", b"x\n")
    first = commit("a")
    project.dvc("move", "a.csv", "b.csv")
    moved = commit("moved")
    put(project, "b.csv", b"y\n")
    put(project, "a.csv", b"x\n")
    both = commit("both", tag="mid")
    put(project, "a.csv", b"z\n")
    last = commit("a again")
    made += imported(program, str(project.top))
    # What was imported before it was moved keeps the name that it has here.
    old, new = ("b.csv", "a.csv") if at_once else ("a.csv", f"a.csv-{mark('a.csv')}")
    assert sorted(made) == sorted(
        [(old, "v1", first), (old, "v2", moved), (old, "v3", both), (new, "v1", both), (new, "v2", last)]
    )
    assert versions(program, new)[0]["tags"] == versions(program, old)[2]["tags"] == ["mid"]
    for ref in (old, new):
        assert_as_dvc_has_it(program, project, tmp_path, ref)
    assert imported(program, str(project.top)) == []


def test_an_output_that_was_moved_back_has_its_last_name(
    program: Program, project: Project, tmp_path: Path
) -> None:
    put(project, "a.csv", b"x\n")
    project.commit("a")
    for old, new in (("a.csv", "b.csv"), ("b.csv", "a.csv")):
        project.dvc("move", old, new)
        project.commit(f"now {new}")
    assert [one[:2] for one in imported(program, str(project.top))] == [
        ("a.csv", "v1"), ("a.csv", "v2"), ("a.csv", "v3"),
    ]  # fmt: skip
    assert_as_dvc_has_it(program, project, tmp_path, "a.csv")


def test_a_branch_goes_on_with_the_output_that_had_the_path_where_it_began(
    program: Program, project: Project, tmp_path: Path
) -> None:
    put(project, "a.csv", b"x\n")
    project.commit("a")
    project.git("branch", "early")
    project.dvc("move", "a.csv", "b.csv")
    project.commit("moved")
    put(project, "a.csv", b"new\n")
    project.commit("another a")
    project.git("branch", "late")
    for branch in ("early", "late"):
        project.git("checkout", "-q", branch)
        project.dvc("checkout", "-q", "--force")
        put(project, "a.csv", f"{branch}\n".encode())
        project.commit(branch)
    project.git("checkout", "-q", "trunk")
    assert len(imported(program, str(project.top), "--all")) == 5
    assert [one["message"] for one in versions(program, "b.csv@early")] == ["a", "early"]
    assert [one["message"] for one in versions(program, "a.csv@late")] == ["another a", "late"]
    for ref in ("b.csv@early", "a.csv@late"):
        assert_as_dvc_has_it(program, project, tmp_path, ref)


def test_a_tag_names_no_version_of_an_output_that_its_commit_lacks(
    program: Program, project: Project
) -> None:
    put(project, "a.csv", b"1\n")
    put(project, "b.csv", b"1b\n")
    project.commit("a", tag="with")
    project.dvc("remove", "-q", "--outs", "a.csv.dvc")
    project.commit("removed", tag="without")
    project.write("README.md", b"words\n")
    project.commit("nothing of DVC's", tag="release")
    put(project, "a.csv", b"1\n")
    project.commit("as before", tag="back")
    assert [one[0] for one in imported(program, str(project.top))] == ["a.csv", "b.csv"]
    assert versions(program, "a.csv")[0]["tags"] == ["back", "with"]
    assert versions(program, "b.csv")[0]["tags"] == ["back", "release", "with", "without"]


def test_again_makes_nothing_twice_and_goes_on(program: Program, project: Project) -> None:
    for number in range(3):
        project.write("a.csv", b"%d\n" % number)
        project.dvc("add", "a.csv")
        project.commit(f"number {number}", tag=f"t{number}")
    assert len(imported(program, str(project.top), "--rev-range", "HEAD~1", "--dataset", "rows")) == 2
    document = program.json("import", "dvc", str(project.top), "--dataset", "rows")
    assert [one["version"] for one in document["versions"]] == ["v3"]
    assert document["known"] == 2
    before = program.run("log", "rows", "--json")[0]
    assert imported(program, str(project.top), "--dataset", "rows") == []
    assert program.run("log", "rows", "--json")[0] == before
    assert [one["tags"] for one in versions(program, "rows")] == [["t0"], ["t1"], ["t2"]]
    # The history of git was written anew: its commits are others.
    project.git("commit", "-q", "--amend", "-m", "another")
    document = program.json("import", "dvc", str(project.top), "--dataset", "rows")
    assert (document["known"], [one["created"] for one in document["versions"]]) == (2, [False])


def test_a_dry_run_only_says_what_it_would_do(program: Program, project: Project) -> None:
    project.write("a.csv", b"12345\n")
    project.dvc("add", "a.csv")
    project.commit("a", tag="paper")
    document = program.json("import", "dvc", str(project.top), "--dry-run")
    assert (document["dry_run"], document["bytes"]) == (True, 6)
    (made,) = document["versions"]
    assert (made["dataset"], made["version"], made["id"]) == ("a.csv", None, None)
    assert program.json("list") == {"datasets": []}
    assert "would import 1 version of 6 B" in program.run("import", "dvc", str(project.top), "--dry-run")[0]


@pytest.mark.parametrize("kind", ["folder", "file://", "memory://"])
def test_what_the_cache_lacks_comes_from_the_remote(
    program: Program, project: Project, tmp_path: Path, kind: str
) -> None:
    project.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    project.write("a.csv", b"1\n")
    project.write("b/c.csv", b"2\n")
    project.dvc("add", "a.csv", "b")
    project.commit("both")
    project.dvc("push", "-q")
    shutil.rmtree(project.folder / ".dvc" / "cache")
    remote = []
    if kind == "file://":
        remote = ["--remote", f"file://{tmp_path / 'store'}"]
    elif kind == "memory://":
        import fsspec

        fsspec.filesystem("memory").put(str(tmp_path / "store") + "/", f"/{tmp_path.name}/", recursive=True)
        project.dvc("remote", "modify", "-q", "store", "url", str(tmp_path / "elsewhere"))
        project.commit("another remote")
        remote = ["--remote", f"memory://{tmp_path.name}"]
    assert {name for name, _, _ in imported(program, str(project.top), *remote)} == {"a.csv", "b"}
    assert program.run("cat", "a.csv", "a.csv")[0] == "1\n"
    assert program.run("cat", "b", "c.csv")[0] == "2\n"


def test_a_repository_at_a_url(
    program: Program, project: Project, tmp_path: Path, served: Callable[[Path], str]
) -> None:
    project.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    project.write("a.csv", b"1\n")
    project.dvc("add", "a.csv")
    project.commit("a", tag="paper")
    project.dvc("push", "-q")
    project.git("clone", "-q", "--bare", str(project.top), str(tmp_path / "web" / "project.git"))
    project.git("--git-dir", str(tmp_path / "web" / "project.git"), "update-server-info")
    url = f"{served(tmp_path / 'web')}/project.git"
    document = program.json("import", "dvc", url)
    assert (document["source"], len(document["versions"])) == (url, 1)
    assert versions(program, "a.csv")[0]["tags"] == ["paper"]
    assert imported(program, str(project.top)) == []
    assert imported(program, f"file://{project.top}") == []
    program.run("import", "dvc", f"{url}-not", code=3)


def test_missing_bytes_are_named(program: Program, project: Project) -> None:
    for number in range(3):
        project.write("a.csv", b"%d\n" % number)
        project.dvc("add", "a.csv")
        project.commit(f"number {number}")
    project.dvc("gc", "-q", "-w", "-f")
    _, error = program.run("import", "dvc", str(project.top), code=3)
    assert "897316929176464ebc9ad085f31e7284" in error
    assert "--skip-missing" in error
    assert program.json("list") == {"datasets": []}
    document = program.json("import", "dvc", str(project.top), "--skip-missing")
    assert len(document["versions"]) == 1
    assert [one["digest"][:8] for one in document["missing"]] == ["89731692", "b026324c"]
    assert program.run("cat", "a.csv", "a.csv")[0] == "2\n"


def test_damaged_bytes_are_found(program: Program, project: Project) -> None:
    project.write("b/c.csv", b"2\n")
    project.write("a.csv", b"1\n")
    project.dvc("add", "a.csv", "b")
    project.commit("a")
    kept = project.folder / ".dvc" / "cache" / "files" / "md5" / "b0" / "26324c6904b2a9cb4b88d6d61c81d1"
    kept.chmod(0o644)
    kept.write_bytes(b"9\n")
    _, error = program.run("import", "dvc", str(project.top), code=5)
    assert "a.csv is damaged where it comes from" in error
    assert program.json("list") == {"datasets": []}
    kept.write_bytes(b"1\n")
    (folder,) = (project.folder / ".dvc" / "cache").rglob("*.dir")
    folder.chmod(0o644)
    folder.write_bytes(folder.read_bytes().replace(b"c.csv", b"d.csv"))
    _, error = program.run("import", "dvc", str(project.top), code=5)
    assert "the list of the folder b" in error


def test_branches_of_git_are_branches_here(program: Program, project: Project, tmp_path: Path) -> None:
    def put(data: bytes, path: str = "a.csv") -> str:
        project.write(path, data)
        project.dvc("add", path)
        return project.commit(data.decode())

    put(b"1\n")
    put(b"2\n")
    project.git("checkout", "-q", "-b", "feature/x")
    side = put(b"side\n")
    put(b"only here\n", "b.csv")
    project.git("checkout", "-q", "trunk")
    project.dvc("checkout", "-q", "--force")
    put(b"3\n")

    document = program.json("import", "dvc", str(project.top), "--all")
    made = [(one["dataset"], one["branch"], one["version"]) for one in document["versions"]]
    assert made == [
        ("a.csv", "main", "v1"), ("a.csv", "main", "v2"), ("a.csv", "main", "v3"),
        ("a.csv", "feature-x", None), ("b.csv", "feature-x", None),
    ]  # fmt: skip
    assert program.json("import", "dvc", str(project.top), "--all")["versions"] == []
    on_side = versions(program, "a.csv@feature-x")
    assert [one["message"] for one in on_side] == ["1", "2", "side"]
    assert on_side[-1]["meta"]["git.commit"] == side
    assert program.run("cat", "b.csv@feature-x", "b.csv")[0] == "only here\n"
    assert_as_dvc_has_it(program, project, tmp_path, "a.csv@feature-x")

    # It grows on both sides, and is merged.
    project.git("checkout", "-q", "feature/x")
    project.dvc("checkout", "-q", "--force")
    put(b"more\n", "b.csv")
    project.git("checkout", "-q", "trunk")
    project.git("merge", "-q", "-X", "theirs", "--no-edit", "feature/x")
    document = program.json("import", "dvc", str(project.top), "--all")
    assert {(one["dataset"], one["branch"]) for one in document["versions"]} >= {("b.csv", "feature-x")}
    assert program.run("cat", "a.csv", "a.csv")[0] == "side\n"
    assert program.run("cat", "b.csv", "b.csv")[0] == "more\n"
    assert program.json("import", "dvc", str(project.top), "--all")["versions"] == []


def test_a_project_below_the_top(program: Program, tmp_path: Path) -> None:
    project = Project(tmp_path / "mono", "team/data")
    project.write("a.csv", b"1\n")
    project.dvc("add", "a.csv")
    project.commit("a")
    for place in (project.top, project.folder):
        document = program.json("import", "dvc", str(place), "--dry-run")
        assert [one["dataset"] for one in document["versions"]] == ["a.csv"]
    assert imported(program, str(project.folder), "a.csv.dvc")[0][0] == "a.csv"
    assert imported(program, str(project.top), "--subdir", "team/data", "--dataset", "other")[0][0] == "other"
    assert_as_dvc_has_it(program, project, tmp_path, "a.csv")
    program.run("import", "dvc", str(project.top), "--subdir", "team", code=3)
    program.run("import", "dvc", str(project.folder), "b.csv", code=3)


def test_what_dvc_2_kept(program: Program, project: Project, tmp_path: Path) -> None:
    """Its cache has other names, and its MD5 of texts is without the CR of their line ends."""
    cache = project.folder / ".dvc" / "cache"
    data = b"a,b\r\n1,2\r\n"
    (cache / "c9").mkdir(parents=True)
    import hashlib

    digest = hashlib.md5(data.replace(b"\r\n", b"\n")).hexdigest()
    (cache / digest[:2]).mkdir(exist_ok=True)
    (cache / digest[:2] / digest[2:]).write_bytes(data)
    project.write("raw.csv.dvc", f"outs:\n- md5: {digest}\n  size: {len(data)}\n  path: raw.csv\n".encode())
    project.commit("old")
    assert len(imported(program, str(project.top))) == 1
    assert_as_dvc_has_it(program, project, tmp_path, "raw.csv")


def test_where_it_was_downloaded_from_is_kept(program: Program, project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    other.write("a.csv", b"1\n")
    other.dvc("add", "a.csv")
    other.commit("a")
    project.dvc("import", "-q", str(other.top), "a.csv")
    project.commit("imported")
    assert len(imported(program, str(project.top))) == 1
    assert program.json("show", "a.csv")["sources"][0]["url"] == str(other.top)


def test_interrupted_it_goes_on(program: Program, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataver.commit import Committer

    for number in range(3):
        project.write("a.csv", b"%d\n" % number)
        project.dvc("add", "a.csv")
        project.commit(f"number {number}", tag=f"t{number}")
    commit = Committer.commit
    calls: list[object] = []

    def interrupted(self: Committer, progress: Any = None) -> Any:
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return commit(self, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Committer, "commit", interrupted)
        program.run("import", "dvc", str(project.top), code=130)
    document = program.json("import", "dvc", str(project.top))
    assert ([one["version"] for one in document["versions"]], document["known"]) == (["v2", "v3"], 1)
    assert [one["tags"] for one in versions(program, "a.csv")] == [["t0"], ["t1"], ["t2"]]


def test_what_is_read_is_shown(program: Program, project: Project) -> None:
    project.write("a.csv", os.urandom(3_000_000))
    project.dvc("add", "a.csv")
    project.commit("a")
    _, told = program.run("--progress", "import", "dvc", str(project.top))
    assert "importing versions: 1/1, 2.9 MiB/2.9 MiB" in told
