"""What the environment decides: the cache folder, the author, the repository, the jobs."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from dataver import config
from dataver.errors import BadInputError, EnvironmentFaultError


@pytest.fixture
def git_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of its own, so that no git configuration of the machine is seen."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_DIR", "DATAVER_AUTHOR", "GIT_CONFIG_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(home)
    return home


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


class TestCacheFolder:
    def test_its_own_variable_comes_first(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("DATAVER_CACHE_DIR", str(tmp_path / "own"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert config.cache_folder() == tmp_path / "own"

    def test_a_relative_one_is_made_absolute(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DATAVER_CACHE_DIR", "own")
        assert config.cache_folder() == tmp_path / "own"

    def test_then_xdg(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("DATAVER_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert config.cache_folder() == tmp_path / "dataver"

    @pytest.mark.parametrize("xdg", ["", "relative"])
    def test_then_home(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, xdg: str) -> None:
        monkeypatch.delenv("DATAVER_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert config.cache_folder() == tmp_path / ".cache" / "dataver"

    def test_no_home_at_all_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DATAVER_CACHE_DIR")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("os.getuid", lambda: 3_999_999_999)  # an account without an entry
        with pytest.raises(EnvironmentFaultError, match="DATAVER_CACHE_DIR"):
            config.cache_folder()


class TestAuthor:
    def test_what_is_given_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATAVER_AUTHOR", "Env <env@example.org>")
        assert config.author("  Ada <ada@example.org> ") == "Ada <ada@example.org>"
        assert config.author() == "Env <env@example.org>"

    @pytest.mark.parametrize("bad", ["two\nlines", "nul\0", "\x1b[31m", "\u202e", "x" * 2000])
    def test_more_than_a_line_of_text_is_refused(self, bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(BadInputError, match="the author"):
            config.author(bad)
        if "\0" not in bad:
            monkeypatch.setenv("DATAVER_AUTHOR", bad)
            with pytest.raises(BadInputError, match="DATAVER_AUTHOR"):
                config.author()

    @pytest.mark.parametrize("empty", ["", "  "])
    def test_an_empty_one_is_refused(self, empty: str) -> None:
        with pytest.raises(BadInputError, match="empty"):
            config.author(empty)

    @needs_git
    def test_then_git(self, git_home: Path) -> None:
        (git_home / ".gitconfig").write_text("[user]\n\tname = Grace Hopper\n\temail = grace@example.org\n")
        assert config.author() == "Grace Hopper <grace@example.org>"

    @needs_git
    def test_the_nearest_configuration_counts(self, git_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (git_home / ".gitconfig").write_text("[user]\n\tname = Home\n\temail = home@example.org\n")
        project = git_home / "project"
        subprocess.run(["git", "init", "-q", project], check=True)
        subprocess.run(["git", "-C", project, "config", "user.email", "work@example.org"], check=True)
        monkeypatch.chdir(project)
        assert config.author() == "Home <work@example.org>"

    @needs_git
    def test_a_name_without_address_gets_this_account(self, git_home: Path) -> None:
        (git_home / ".gitconfig").write_text("[user]\n\tname = Grace\n")
        assert config.author() == f"Grace <{getpass.getuser()}@{socket.gethostname()}>"

    @needs_git
    def test_a_broken_git_configuration_is_passed_over(self, git_home: Path) -> None:
        (git_home / ".gitconfig").write_text("[user\nname = ")
        assert config.author() == f"{getpass.getuser()}@{socket.gethostname()}"

    def test_without_git_user_at_host(self, git_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(git_home))
        monkeypatch.setenv("LOGNAME", "ada")
        assert config.author() == f"ada@{socket.gethostname()}"

    @needs_git
    def test_git_is_asked_while_something_else_is_done(
        self, git_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (git_home / ".gitconfig").write_text("[user]\n\tname = Grace Hopper\n\temail = grace@example.org\n")
        with config.author_asked() as said:
            monkeypatch.setenv("PATH", str(git_home))  # No other git is started.
            assert said() == "Grace Hopper <grace@example.org>"
        monkeypatch.setattr(config, "_ask_git", lambda: pytest.fail("nobody needs git's answer"))
        with config.author_asked("Ada <ada@example.org>") as said:
            assert said() == "Ada <ada@example.org>"
        monkeypatch.setenv("DATAVER_AUTHOR", "Env <env@example.org>")
        with config.author_asked() as said:
            assert said() == "Env <env@example.org>"

    def test_a_git_whose_answer_is_not_needed_any_more_is_ended(
        self, git_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hanging = git_home / "git"
        hanging.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
        hanging.chmod(0o755)
        monkeypatch.setenv("PATH", str(git_home))
        started = time.monotonic()
        with pytest.raises(KeyError), config.author_asked():
            raise KeyError
        assert time.monotonic() - started < 30

    def test_nobody_waits_for_a_git_that_hangs(self, git_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        hanging = git_home / "git"
        hanging.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
        hanging.chmod(0o755)
        monkeypatch.setenv("PATH", str(git_home))
        monkeypatch.setattr(config, "GIT_TIMEOUT_S", 0.2)
        assert config.author() == f"{getpass.getuser()}@{socket.gethostname()}"


class TestFindRepository:
    def test_the_variable_comes_first(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / ".dataver").mkdir()
        monkeypatch.setenv("DATAVER_REPO", "memory://named")
        assert config.find_repository(tmp_path) == "memory://named"

    def test_the_nearest_folder_wins(self, tmp_path: Path) -> None:
        inner = tmp_path / "a" / "b"
        inner.mkdir(parents=True)
        (tmp_path / ".dataver").mkdir()
        assert config.find_repository(inner) == str(tmp_path / ".dataver")
        (tmp_path / "a" / ".dataver").mkdir()
        assert config.find_repository(inner) == str(tmp_path / "a" / ".dataver")

    def test_it_starts_in_the_current_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ".dataver").mkdir()
        monkeypatch.chdir(tmp_path)
        assert config.find_repository() == str(tmp_path / ".dataver")

    def test_a_file_of_that_name_is_none(self, tmp_path: Path) -> None:
        inner = tmp_path / "a"
        inner.mkdir()
        (tmp_path / ".dataver").mkdir()
        (inner / ".dataver").write_text("no folder")
        assert config.find_repository(inner) == str(tmp_path / ".dataver")

    def test_there_may_be_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATAVER_REPO", "")
        found = config.find_repository(tmp_path)
        assert found is None or not Path(found).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (None, 10 << 30), ("", 10 << 30), ("0", 0), ("1000", 1000), ("1000B", 1000), ("64k", 64 << 10),
        ("500M", 500 << 20), ("20 GiB", 20 << 30), ("1.5GB", 3 << 29), (" 1T ", 1 << 40),
    ],
)  # fmt: skip
def test_the_cap_of_the_cache(given: str | None, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if given is not None:
        monkeypatch.setenv("DATAVER_CACHE_MAX", given)
    assert config.cache_bytes_max() == size


def test_the_cap_of_local_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.copies_bytes_max() == 50 << 30
    monkeypatch.setenv("DATAVER_COPIES_MAX", "2G")
    assert config.copies_bytes_max() == 2 << 30
    monkeypatch.setenv("DATAVER_COPIES_MAX", "much")
    with pytest.raises(BadInputError, match="DATAVER_COPIES_MAX 'much' is not a size"):
        config.copies_bytes_max()


@pytest.mark.parametrize("given", ["-1", "all", "1X", "1e9", "G", "10 G G", "٣"])
def test_a_cap_that_is_no_size(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAVER_CACHE_MAX", given)
    with pytest.raises(BadInputError, match="is not a size"):
        config.cache_bytes_max()


def test_offline_is_said_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not config.offline()
    for given, expected in (("1", True), ("yes", True), ("0", False), ("False", False), ("", False)):
        monkeypatch.setenv("DATAVER_OFFLINE", given)
        assert config.offline() is expected


def test_jobs_are_the_usable_cores_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(os, "sched_getaffinity"):
        assert config.default_jobs() == min(len(os.sched_getaffinity(0)), config.JOBS_MAX)
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
        assert config.default_jobs() == config.JOBS_MAX
    else:
        assert 1 <= config.default_jobs() <= config.JOBS_MAX


def test_runs_wait_in_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAVER_SPOOL_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.spool_folder() == tmp_path / ".local" / "state" / "dataver" / "runs"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert config.spool_folder() == tmp_path / "state" / "dataver" / "runs"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAVER_SPOOL_DIR", "mine")
    assert config.spool_folder() == tmp_path / "mine"
