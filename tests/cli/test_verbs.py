"""What people read of each verb, and the exit code of each kind of failure, on a real repository."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from click.testing import Result

Run = Callable[..., "Result"]
Ok = Callable[..., str]


def test_commit_says_what_it_did(ok: Ok, iris: Path) -> None:
    (iris / "new").write_bytes(b"0123456789" * 1000)
    (iris / "a.csv").write_text("changed")
    line = ok("commit", "iris", "iris", "-m", "second")
    assert re.fullmatch(
        r"iris@v2  [0-9a-f]{8}…  1 added, 1 modified  [\d.]+ KiB new of [\d.]+ KiB \(stored [\d.]+ K?i?B\)\n",
        line,
    )
    assert re.fullmatch(
        r"iris@v2  [0-9a-f]{8}…  nothing changed, no new version\n", ok("commit", "iris", "iris")
    )
    assert ok("commit", "iris", "iris", "--dry-run").startswith("iris  nothing changed  0 B new of ")
    (iris / "more").write_text("more")
    assert ok("commit", "iris", "iris", "--dry-run").startswith("iris  would commit 1 added  4 B new of ")
    tagged = ok("commit", "iris", "iris", "--tag", "paper", "--tag", "draft").splitlines()
    assert tagged[-1] == "tagged paper, draft"
    tagged = ok("commit", "iris", "iris", "--tag", "later").splitlines()
    assert (tagged[0].endswith("no new version"), tagged[1:]) == (True, ["tagged later"])


def test_an_empty_folder_is_no_first_version(ok: Ok, place: Path) -> None:
    ok("init")
    (place / "empty").mkdir()
    assert ok("commit", "iris", "empty") == "iris  nothing to record, no version\n"
    assert ok("list") == ""


def test_status_and_diff_name_the_paths(ok: Ok, iris: Path) -> None:
    assert ok("status", "iris", "iris") == "nothing changed\n"
    (iris / "new").write_text("new")
    (iris / "train" / "b.csv").rename(iris / "moved.csv")
    expected = "added     new\nrenamed   train/b.csv -> moved.csv\n1 added, 1 renamed\n"
    assert ok("status", "iris", "iris") == expected
    ok("commit", "iris", "iris")
    assert ok("diff", "iris@v1", "iris") == expected
    assert ok("diff", "iris@v1", "iris", "--stat") == "1 added, 1 renamed\n"


def test_log_shows_a_line_a_version(ok: Ok, iris: Path) -> None:
    ok(
        "commit",
        "iris",
        "iris",
        "--allow-empty",
        "-m",
        "second\n\nmore",
        "--author",
        "Bo <bo@x>",
        "--tag",
        "paper",
    )
    lines = ok("log", "iris").splitlines()
    assert len(lines) == 2
    form = r"v2  [0-9a-f]{8}  \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ  Bo           .*\[paper\] second"
    assert re.fullmatch(form, lines[0])
    assert "Test Author" in lines[1]
    assert lines[1].endswith("first")
    assert len(ok("log", "iris", "-n", "1").splitlines()) == 1
    ok("commit", "iris", "iris", "--allow-empty", "-m", "\n\nafter blank lines\n")
    assert ok("log", "iris", "-n", "1").endswith("  after blank lines\n")
    ok("commit", "iris", "iris", "--allow-empty", "--author", "Ada")
    assert ok("log", "iris", "-n", "1").endswith("  Ada\n")


def test_show_has_every_fact(ok: Ok, iris: Path) -> None:
    ok("tag", "iris@v1", "paper")
    text = ok("show", "iris@paper")
    assert text.startswith("iris@v1\n")
    for fact in ("id ", "tree ", "author ", "time ", "files ", "tags ", "branches "):
        assert f"\n{fact}" in text
    assert text.endswith("\n\n    first\n\n    in full\n")


def test_ls_marks_what_is_no_plain_file(ok: Ok, iris: Path) -> None:
    assert [line.split()[-1] for line in ok("ls", "iris").splitlines()] == [
        "a.csv",
        "hollow/",
        "link@",
        "train/",
    ]
    assert "train/run.sh*" in ok("ls", "iris", "train")
    assert re.search(r"200 B  [0-9a-f]{64}  train/b\.csv\n", ok("ls", "iris", "-r", "--long"))


def test_list_aligns(ok: Ok, iris: Path) -> None:
    ok("commit", "flowers/all", "iris")
    lines = ok("list").splitlines()
    assert [line.split()[0] for line in lines] == ["flowers/all@v1", "iris@v1"]
    assert len({line.index(" files") for line in lines}) == 1


def test_names_say_where_they_point(ok: Ok, iris: Path) -> None:
    assert re.fullmatch(
        r"tag iris@paper -> [0-9a-f]{8}…\n",
        ok("tag", "iris@v1", "paper"),
    )
    assert ok("tag", "iris").startswith("paper  ")
    assert re.fullmatch(
        r"tag iris@paper deleted  \(was [0-9a-f]{8}…\)\n", ok("tag", "iris@paper", "--delete")
    )
    ok("commit", "iris", "iris", "--allow-empty")
    ok("alias", "iris@v1", "prod")
    assert re.fullmatch(
        r"alias iris@prod -> [0-9a-f]{8}…  \(was [0-9a-f]{8}…\)\n", ok("alias", "iris@v2", "prod")
    )


def test_cat_gives_the_bytes(run: Run, iris: Path) -> None:
    content = bytes(range(256)) * 5000
    (iris / "bytes").write_bytes(content)
    run("commit", "iris", "iris")
    assert run("cat", "iris", "bytes").stdout_bytes == content
    assert run("cat", "iris@v1", "a.csv").stdout_bytes == b"sepal,petal\n1,2\n"


def test_checkout_says_what_it_wrote(ok: Ok, iris: Path) -> None:
    assert re.fullmatch(
        r"iris@v1 -> out  \d files?, \d+ B: wrote \d files?, \d+ B\n", ok("checkout", "iris@v1", "out")
    )
    assert ok("checkout", "iris@v1", "out").endswith(": nothing to do\n")


def test_verify_and_doctor_speak_plainly(ok: Ok, iris: Path) -> None:
    assert re.fullmatch(r"\d+ objects, .* read: all whole\n", ok("verify"))
    lines = ok("doctor").splitlines()
    assert lines
    assert all(line.startswith("ok ") for line in lines)


def test_doctor_without_a_repository_says_so(run: Run) -> None:
    result = run("doctor")
    assert result.exit_code == 9
    assert result.stdout.startswith("failed  repository  there is no repository")
    (check,) = json.loads(run("doctor", "--json").stdout)["checks"]
    assert (check["name"], check["ok"]) == ("repository", False)
    assert check["advice"]
    run("init", "held/.dataver")
    (check, *_) = json.loads(run("-R", "held", "doctor", "--json").stdout)["checks"]
    assert "holds one" in check["detail"]


def test_delete_tells_the_way_back(ok: Ok, iris: Path) -> None:
    assert "--undo" in ok("delete", "iris")
    assert ok("list") == ""
    assert ok("delete", "iris", "--undo") == "iris is back\n"


def test_rename_moves_the_names(ok: Ok, iris: Path) -> None:
    assert ok("rename", "iris", "flowers") == "iris is now flowers\n"
    assert ok("log", "flowers")


def test_a_message_of_many_lines_and_controls_is_safe(ok: Ok, iris: Path) -> None:
    ok("commit", "iris", "iris", "--allow-empty", "-m", "evil \x1b[2J\nsecond\x07 line")
    assert "\x1b" not in ok("log", "iris")
    assert "\x07" not in ok("show", "iris")
    assert "second\\x07 line" in ok("show", "iris")


ODD = [
    "new\nline",
    "tab\there",
    "quo\"te's",
    "größe",
    "日本語",
    " lead",
    "-dash",
    "back\\slash",
    "\x1b[31mred",
    "@v1",
]


def test_odd_file_names(ok: Ok, run: Run, place: Path) -> None:
    folder = place / "odd"
    folder.mkdir()
    for name in ODD:
        (folder / name).write_text(name)
    ok("init")
    ok("commit", "odd", "odd")
    text = ok("ls", "odd")
    assert len(text.splitlines()) == len(ODD)
    assert "\x1b" not in text
    assert "new\\nline" in text
    found = [entry["path"] for entry in json.loads(ok("ls", "odd", "--json"))["files"]]
    assert found == sorted(ODD, key=str.encode)
    for name in ODD:
        assert run("cat", "odd", "--", name).stdout_bytes == name.encode()
    ok("checkout", "odd", "out")
    assert sorted(os.listdir(place / "out")) == sorted(ODD)


def test_a_name_that_is_not_utf8_is_2_in_a_safe_spelling(run: Run, ok: Ok, place: Path) -> None:
    folder = place / "odd"
    folder.mkdir()
    (folder / "caf\udce9").write_text("x")
    ok("init")
    result = run("commit", "odd", "odd")
    assert result.exit_code == 2
    assert "caf\\xe9" in result.stderr


FAILURES = [
    (2, ("commit", "-bad", "iris")),
    (2, ("commit", "a//b", "iris")),
    (2, ("commit", "é", "iris")),
    (2, ("commit", "a" * 201, "iris")),
    (2, ("commit", "iris", "iris", "--tag", "v7", "--allow-empty")),
    (2, ("commit", "iris", "iris", "--time", "yesterday")),
    (2, ("commit", "iris", "iris", "--into", "../up")),
    (2, ("commit", "iris", "iris", "--into", ".dataver")),
    (2, ("commit", "iris", ".dataver/log/00000000000000000000")),
    (2, ("checkout", "iris", "s3://bucket/folder")),
    (2, ("checkout", "iris", ".dataver")),
    (2, ("checkout", "iris", ".dataver/new")),
    (2, ("checkout", "iris", "elsewhere/.dataver")),
    (2, ("show", "iris@")),
    (2, ("show", "@v1")),
    (2, ("tag", "iris", "latest")),
    (2, ("tag", "iris@v1", "deadbeef")),
    (2, ("branch", "iris@v1", "a/b")),
    (2, ("rename", "iris", ".hidden")),
    (2, ("show", "iris", "--at", "yesterday")),
    (2, ("cat", "iris", "train")),
    (2, ("commit", "iris", "long" * 100)),
    (7, ("checkout", "iris", "deep/" * 2000)),
    (3, ("show", "iris@v2")),
    (3, ("show", "iris@nobody")),
    (3, ("show", "iris@main~5")),
    (3, ("show", "iris@0123456789")),
    (3, ("show", "tulip")),
    (3, ("log", "tulip")),
    (3, ("cat", "iris", "nothing.csv")),
    (3, ("ls", "iris", "nothing")),
    (3, ("commit", "iris", "nowhere")),
    (3, ("commit", "iris", "iris", "--base", "iris@v9")),
    (3, ("checkout", "iris@v9", "out")),
    (3, ("diff", "iris@v1", "iris@v9")),
    (3, ("tag", "iris", "nobody", "--delete")),
    (3, ("merge", "iris@nobody")),
    (3, ("merge", "iris", "--branch", "nobody")),
    (3, ("revert", "iris", "--branch", "nobody")),
    (3, ("revert", "iris@v9")),
    (3, ("delete", "tulip")),
    (3, ("rename", "tulip", "rose")),
    (3, ("verify", "tulip")),
    (3, ("--repo", "elsewhere", "list")),
    (4, ("init",)),
]


@pytest.mark.parametrize(
    ("code", "arguments"),
    FAILURES,
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_failures_have_their_code_and_one_paragraph(
    code: int, arguments: tuple[str, ...], run: Run, iris: Path
) -> None:
    before = run("log", "iris", "--json").stdout
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    if arguments[0] != "cat":
        again = run(*arguments, "--json")
        assert (again.exit_code, again.stdout) == (code, "")
        assert json.loads(again.stderr)["error"]["code"] == code
    assert run("log", "iris", "--json").stdout == before


def test_a_tag_that_points_elsewhere_is_4_and_nothing_is_committed(run: Run, ok: Ok, iris: Path) -> None:
    ok("tag", "iris@v1", "paper")
    ok("commit", "iris", "iris", "--allow-empty")
    assert run("tag", "iris@v2", "paper").exit_code == 4
    (iris / "new").write_text("new")
    assert run("commit", "iris", "iris", "--tag", "paper").exit_code == 4
    assert json.loads(ok("show", "iris", "--json"))["version"] == "v2"
    assert ok("tag", "iris@v1", "paper").endswith("(as before)\n")
    assert run("branch", "iris@v1", "main").exit_code == 4


def test_both_sides_changing_a_file_is_4(run: Run, ok: Ok, iris: Path, place: Path) -> None:
    ok("checkout", "iris", "other")
    (place / "other" / "a.csv").write_text("theirs")
    ok("commit", "iris", "other")
    (iris / "a.csv").write_text("ours")
    result = run("commit", "iris", "iris")
    assert result.exit_code == 4
    assert "a.csv" in result.stderr


def test_checkout_takes_the_url_of_a_folder_here(ok: Ok, iris: Path, place: Path) -> None:
    ok("checkout", "iris", f"file://{place}/out")
    assert (place / "out" / "a.csv").read_bytes() == (iris / "a.csv").read_bytes()


def test_checkout_over_changed_files_is_6(run: Run, ok: Ok, iris: Path, place: Path) -> None:
    (place / "out").mkdir()
    (place / "out" / "a.csv").write_text("mine")
    result = run("checkout", "iris", "out")
    assert result.exit_code == 6
    assert "a.csv" in result.stderr
    assert (place / "out" / "a.csv").read_text() == "mine"
    ok("checkout", "iris", "out", "--overwrite")
    assert (place / "out" / "a.csv").read_bytes() == (iris / "a.csv").read_bytes()


def test_damage_is_5_and_is_listed(run: Run, iris: Path, place: Path) -> None:
    for pack in (place / ".dataver" / "packs").rglob("*"):
        if pack.is_file():
            pack.unlink()
    result = run("verify")
    assert result.exit_code == 5
    assert "damaged  packs/" in result.stdout
    assert "harms iris@v1" in result.stdout
    assert result.stderr.startswith("error: ")
    assert run("cat", "iris", "train/b.csv").exit_code == 5


def test_a_place_that_may_not_be_written_is_8(run: Run) -> None:
    if not os.path.isdir("/sys/kernel"):
        pytest.skip("there is no /sys here, where not even root makes folders")
    result = run("init", "/sys/kernel/dataver")
    assert result.exit_code == 8, result.output


def test_pipes_are_refused_with_2(run: Run, iris: Path) -> None:
    os.mkfifo(iris / "pipe")
    result = run("commit", "iris", "iris")
    assert result.exit_code == 2
    assert "pipe" in result.stderr


def test_init_says_where_and_warns_of_another_setting(
    ok: Ok, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(place) in ok("init")
    monkeypatch.setenv("DATAVER_REPO", str(place / "elsewhere"))
    (place / "sub").mkdir()
    monkeypatch.chdir(place / "sub")
    result = run("init")
    assert result.exit_code == 0
    assert "warning: DATAVER_REPO" in result.stderr
    assert (place / "sub" / ".dataver").is_dir()


def test_the_repository_is_found_as_the_contract_says(
    ok: Ok, iris: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok("init", "other")
    monkeypatch.chdir(iris / "train")
    assert ok("list").startswith("iris@v1")
    monkeypatch.setenv("DATAVER_REPO", str(place / "other"))
    assert ok("list") == ""
    assert ok("-R", str(place / ".dataver"), "list").startswith("iris@v1")


def test_globs_choose_files(ok: Ok, iris: Path, place: Path) -> None:
    ok("commit", "csv", "iris", "--include", "*.csv", "--exclude", "train/**")
    assert [entry["path"] for entry in json.loads(ok("ls", "csv", "-r", "--json"))["files"]] == ["a.csv"]
    ok("checkout", "iris", "out", "--include", "train/**")
    assert sorted(path.name for path in (place / "out").rglob("*")) == ["b.csv", "run.sh", "train"]


def test_names_can_be_listed_as_they_were(ok: Ok, run: Run, iris: Path) -> None:
    ok("alias", "iris@v1", "prod")
    assert ok("alias", "iris", "--at", "1") == ""
    assert ok("alias", "iris", "--at", "2").startswith("prod  ")
    assert ok("branch", "iris", "--at", "1").startswith("main  ")
    assert run("tag", "iris", "late", "--at", "1").exit_code == 2


def test_add_and_into(ok: Ok, iris: Path, place: Path) -> None:
    (place / "part.csv").write_text("part")
    ok("commit", "iris", "part.csv", "--add", "--into", "train/parts")
    paths = [entry["path"] for entry in json.loads(ok("ls", "iris", "-r", "--json"))["files"]]
    assert "train/parts/part.csv" in paths
    assert "a.csv" in paths


def test_references_stay_where_they_are(ok: Ok, run: Run, iris: Path) -> None:
    (iris / "link").unlink()
    ok("commit", "refs", "iris", "--reference")
    assert run("cat", "refs", "a.csv").stdout_bytes == (iris / "a.csv").read_bytes()


def test_show_says_why_a_file_is_no_table(place: Path, ok: Ok) -> None:
    ok("init")
    (place / "t.parquet").write_bytes(b"a,b")
    ok("commit", "t", "t.parquet")
    assert "t.parquet  no table that can be read: it is not Parquet\n" in ok("show", "t", "--tables")
    shown = json.loads(ok("show", "t", "--tables", "--json"))
    assert shown["tables"] == [
        {"path": "t.parquet", "rows": None, "columns": None, "reason": "it is not Parquet"}
    ]


def test_stats_spell_how_far_times_are_apart(place: Path, ok: Ok) -> None:
    days = pa.array([0, 2, 4, 6], pa.int32())
    seconds = pa.array([0, 20, 40, 60], pa.int64())
    columns = {
        "d": days.cast(pa.date32()),
        "e": days.cast(pa.date32()).cast(pa.date64()),
        "us": pa.compute.multiply(seconds, 1_000_000).cast(pa.timestamp("us", "UTC")),
        "ns": pa.compute.multiply(seconds, 10**9).cast(pa.timestamp("ns")),
        "n": seconds,
    }
    ok("init")
    pq.write_table(pa.table(columns), place / "t.parquet")
    ok("commit", "t", "t.parquet")
    ends = [line.split()[-2:] for line in ok("stats", "t").splitlines()[2:]]
    two, twenty = ["2.23607", "days"], ["22.3607", "s"]
    assert ends[:4] == [two, two, twenty, twenty]
    assert ends[4] == ["30", "22.3607"]
    assert "std       22.3607 s\n" in ok("stats", "t", "--column", "us")
