"""The real program in a process of its own: signals, pipes, terminals."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., "subprocess.CompletedProcess[bytes]"]

PROGRAM = (sys.executable, "-m", "dataver.cli")


@pytest.fixture
def versions(iris: Path, ok: Callable[..., str]) -> None:
    """A history that is longer than a pipe holds."""
    for number in range(6):
        ok("commit", "iris", "iris", "--allow-empty", "-m", f"{number} " + "long " * 60_000)


def on_terminal(arguments: list[str], **environment: str) -> tuple[int, bytes, bytes]:
    """Run the program with standard error (and nothing else) on a terminal."""
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, **environment},
    )
    os.close(terminal)
    shown = b""
    while select.select([control], [], [], 30)[0]:
        try:
            block = os.read(control, 65536)
        except OSError:
            break
        if not block:
            break
        shown += block
    assert process.stdout is not None
    printed = process.stdout.read()
    process.stdout.close()
    os.close(control)
    return process.wait(timeout=30), printed, shown


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["log", "iris"], ["log", "iris", "--json"], ["cat", "iris", "big"]])
def test_a_closed_pipe_is_quiet(
    arguments: list[str], unbuffered: str, versions: None, iris: Path, program: Program
) -> None:
    (iris / "big").write_bytes(os.urandom(4 << 20))
    assert program("commit", "iris", "iris").returncode == 0
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    process = subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", [["log", "iris"], ["cat", "iris", "a.csv"], ["list", "--json"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_the_output_is_7(arguments: list[str], unbuffered: str, iris: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        process = subprocess.run(
            [*PROGRAM, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
            env=environment,
        )
    assert process.returncode == 7
    assert b"space" in process.stderr
    assert process.stderr.count(b"error") >= 1
    assert b"Traceback" not in process.stderr
    assert b"Exception ignored" not in process.stderr


def test_no_standard_output_at_all(iris: Path) -> None:
    process = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -m dataver.cli list >&-', sys.executable],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in process.stderr


def interrupted(arguments: list[str], started: Callable[[], bool]) -> tuple[int, bytes, bytes]:
    """Start the program, send it the signal of Ctrl-C once `started` says so, and wait."""
    command = [sys.executable, "-X", "faulthandler", "-m", "dataver.cli", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline_s = time.monotonic() + 30
    while not started() and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    try:
        printed, told = process.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # what every thread is waiting for then stands in `told`
        printed, told = process.communicate()
    return process.returncode, printed, told


INTERRUPTED_AT = """
import importlib.metadata, os, runpy, signal, sys
where, how, *sys.argv[1:] = sys.argv[1:]
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == where:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
if how == "script":
    sys.exit(importlib.metadata.EntryPoint(*SCRIPT).load()())
runpy.run_module(how, run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("how", ["script", "dataver", "dataver.cli"])
@pytest.mark.parametrize("where", ["dataver.cli.root", "click", "dataver.cli.faults", "dataver.cli.list"])
def test_an_early_ctrl_c_prints_no_traceback(where: str, how: str) -> None:
    """While the program imports what it is made of, before the verb begins."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    script = ("dataver", project["scripts"]["dataver"], "console_scripts")
    code = INTERRUPTED_AT.replace("SCRIPT", repr(script))
    process = subprocess.run(
        [sys.executable, "-c", code, where, how, "list"], capture_output=True, check=False, timeout=60
    )
    assert (process.returncode, process.stdout) == (130, b"")
    assert b"Traceback" not in process.stderr


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_ctrl_c_is_130_and_nothing_half_done_stays(
    json_option: list[str], iris: Path, place: Path, program: Program
) -> None:
    """The commit is interrupted while it writes its packs."""
    with open(iris / "endless", "wb") as file:
        file.writelines(os.urandom(16 << 20) for _ in range(24))
    folder = place / ".dataver"
    before = sum(1 for path in folder.rglob("*") if path.is_file())

    def writing() -> bool:
        return sum(1 for path in folder.rglob("*") if path.is_file()) > before

    code, printed, told = interrupted(["commit", "iris", "iris", *json_option], writing)
    assert (code, printed) == (130, b""), told.decode()
    assert b"Traceback" not in told
    if json_option:
        assert json.loads(told)["error"]["code"] == 130
    else:
        assert told.startswith(b"error: interrupted")
        assert told.count(b"\n") == 1
    (iris / "endless").unlink()
    assert json.loads(program("show", "iris", "--json").stdout)["version"] == "v1"
    (iris / "new").write_text("new")
    assert json.loads(program("commit", "iris", "iris", "--json").stdout)["version"] == "v2"
    assert program("verify", "--deep").returncode == 0


def test_json_is_one_document_and_nothing_else(iris: Path, program: Program) -> None:
    (iris / "new").write_text("new")
    for arguments in (
        ["commit", "iris", "iris"],
        ["list"],
        ["log", "iris"],
        ["ls", "iris", "-r"],
        ["verify"],
    ):
        process = program("--progress", *arguments, "--json")
        assert process.returncode == 0
        assert isinstance(json.loads(process.stdout), dict)
        assert process.stdout.count(b"\n") == 1


def test_off_a_terminal_there_is_no_colour_and_no_progress(iris: Path, program: Program) -> None:
    process = program("log", "iris")
    assert b"\x1b" not in process.stdout
    (iris / "new").write_text("new")
    assert program("commit", "iris", "iris").stderr == b""


def test_progress_can_be_asked_for(iris: Path, program: Program) -> None:
    (iris / "new").write_text("new")
    for arguments in (["--progress", "commit", "iris", "iris"], ["checkout", "iris", "out", "--progress"]):
        process = program(*arguments)
        assert process.returncode == 0
        assert b"files" in process.stderr
        assert b"\x1b" not in process.stderr


def test_a_terminal_gets_a_bar_and_colour_unless_told_otherwise(iris: Path) -> None:
    (iris / "big").write_bytes(os.urandom(256 << 20))
    code, printed, shown = on_terminal(["commit", "iris", "iris"])
    assert code == 0
    assert b"\x1b" not in printed
    assert b"MiB" in shown
    assert b"\x1b[" in shown


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_errors_on_a_terminal_are_coloured(environment: dict[str, str], coloured: bool) -> None:
    code, printed, shown = on_terminal(["list"], **environment)
    assert code == 3
    assert printed == b""
    assert (b"\x1b[" in shown) == coloured
    assert b"error:" in shown


def test_an_output_that_cannot_print_a_name_escapes_it(
    place: Path, ok: Callable[..., str], program: Program
) -> None:
    (place / "odd").mkdir()
    (place / "odd" / "日本語").write_text("x")
    ok("init")
    ok("commit", "odd", "odd")
    process = program("ls", "odd", env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert process.returncode == 0
    assert rb"\u65e5" in process.stdout


def test_arguments_that_are_not_utf8_are_no_traceback(iris: Path, program: Program) -> None:
    for arguments in (
        ["show", b"iris@\xff"],
        ["cat", "iris", b"\xff"],
        ["commit", "iris", b"no\xffwhere"],
        [b"\xff"],
    ):
        process = program(*arguments)
        assert process.returncode in {2, 3}
        assert process.stderr.startswith(b"error: ")
        assert process.stderr.count(b"\n") == 1


def test_a_repository_may_be_at_a_place_that_is_not_utf8(iris: Path, program: Program) -> None:
    for arguments in (
        ["init", b"place\xff"],
        ["-R", b"place\xff", "commit", "iris", "iris"],
        ["-R", b"place\xff", "checkout", "iris", b"out\xff"],
        ["-R", b"place\xff", "doctor"],
        ["-R", b"place\xff", "verify", "--deep"],
    ):
        process = program(*arguments)
        assert process.returncode == 0, process.stderr
    assert (iris.parent / os.fsdecode(b"out\xff") / "a.csv").read_bytes() == (iris / "a.csv").read_bytes()


@pytest.mark.parametrize("arguments", [("list",), ("init",), ("-R", "../iris", "list"), ("doctor",)])
def test_a_current_folder_that_was_deleted_is_3(arguments: tuple[str, ...], place: Path) -> None:
    gone = place / "gone"
    gone.mkdir()
    script = f"rmdir {gone}; exec {shlex.join([*PROGRAM, *arguments])}"
    done = subprocess.run(
        ["sh", "-c", script], cwd=gone, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[-1].startswith("error: the current folder was deleted; ")
