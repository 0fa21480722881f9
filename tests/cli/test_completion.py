"""Completion of verbs, options, datasets and refs, asked as the shells ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dataver.cli import VERBS

Complete = Callable[..., list[str]]

BREAKS = " \t\n\"'@><=;|&(:"


def ask(shell: str, **environment: str) -> list[str]:
    """What the program answers a shell, and nothing on standard error."""
    process = subprocess.run(
        [sys.executable, "-m", "dataver.cli"],
        env={**os.environ, "_DATAVER_COMPLETE": f"{shell}_complete", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert process.stderr == ""
    return process.stdout.splitlines()


def bash(line: str, breaks: str = BREAKS) -> list[str]:
    """The answers for bash with the cursor at the end of `line`: what follows the last word break."""
    return [answer.partition(",")[2] for answer in ask("bash", COMP_LINE=line, COMP_BREAKS=breaks) if answer]


def zsh(*words: str) -> list[str]:
    answers = ask("zsh", COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1))
    return answers[1::3]


def fish(line: str) -> list[str]:
    last = "" if line.endswith(" ") else line.rsplit(maxsplit=1)[-1]
    answers = ask("fish", COMP_WORDS=line, COMP_CWORD=last)
    return [answer.partition(",")[2].partition("\t")[0] for answer in answers]


def test_pull_completes_what_the_other_repository_has(names: None, ok: Callable[..., str]) -> None:
    ok("-R", "other", "init")
    ok("push", "flowers/all", "--to", "other")
    ok("-R", "other", "tag", "flowers/all", "theirs")
    assert zsh("dataver", "pull", "--from", "other", "f") == ["flowers/all"]
    assert zsh("dataver", "pull", "--from", "other", "flowers/all@t") == ["flowers/all@theirs"]
    assert zsh("dataver", "push", "--to", "other", "iris@p") == ["iris@paper", "iris@prod"]


@pytest.fixture
def names(iris: Path, ok: Callable[..., str]) -> None:
    ok("tag", "iris@v1", "paper")
    ok("alias", "iris@v1", "prod")
    ok("branch", "iris@v1", "cleaning")
    ok("commit", "flowers/all", "iris")


def test_verbs() -> None:
    assert bash("dataver ") == zsh("dataver", "") == fish("dataver ") == list(VERBS)
    assert bash("dataver che") == zsh("dataver", "che") == fish("dataver che") == ["checkout"]


def test_options() -> None:
    assert "--deep" in bash("dataver verify --d")
    assert "--repo" in bash("dataver --re")


def test_settings_and_their_values() -> None:
    """Of no repository: the keys are known without one."""
    assert bash("dataver config ") == zsh("dataver", "config", "") == fish("dataver config ")
    assert bash("dataver config com") == ["commit.stats"]
    assert bash("dataver config commit.stats ") == ["on", "off"]
    assert zsh("dataver", "config", "commit.stats", "of") == ["off"]
    assert bash("dataver config other o") == []


def test_datasets(names: None) -> None:
    assert bash("dataver status ") == ["flowers/all", "iris"]
    assert bash("dataver log i") == zsh("dataver", "log", "i") == fish("dataver log i") == ["iris"]


def test_refs(names: None) -> None:
    refs = ["iris@cleaning", "iris@latest", "iris@main", "iris@paper", "iris@prod", "iris@v1"]
    assert zsh("dataver", "show", "iris@") == fish("dataver show iris@") == refs
    assert zsh("dataver", "diff", "iris@v1", "iris@p") == ["iris@paper", "iris@prod"]
    assert bash("dataver show iris@p") == ["@paper", "@prod"]
    assert bash("dataver show iris@p", breaks=" \t\n") == ["iris@paper", "iris@prod"]
    assert bash("dataver show iris@p", breaks="@") == ["@paper", "@prod"]
    assert bash("dataver show ir", breaks="@") == ["iris"]
    assert bash("dataver commit iris iris --base iris@p") == ["@paper", "@prod"]
    assert bash("dataver commit iris iris --base=iris@p") == ["@paper", "@prod"]


def test_the_repository_option_is_obeyed(names: None, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert bash("dataver log ") == []
    assert bash(f"dataver -R {place}/.dataver log ") == ["flowers/all", "iris"]
    assert bash(f"dataver log -R {place}/.dataver i") == ["iris"]


def test_without_a_repository_nothing_is_offered_and_nothing_said() -> None:
    assert bash("dataver log ") == zsh("dataver", "log", "") == fish("dataver log ") == []
    assert bash("dataver -R nonsense://x log ") == []


def test_what_is_no_question_is_refused() -> None:
    for instruction in ("csh_complete", "bash_nonsense", "nonsense"):
        process = subprocess.run(
            [sys.executable, "-m", "dataver.cli"],
            env={**os.environ, "_DATAVER_COMPLETE": instruction},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (process.returncode, process.stdout, process.stderr) == (1, b"", b"")


def test_scripts_name_the_program(ok: Callable[..., str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        script = ok("completion", shell)
        assert f"_DATAVER_COMPLETE={shell}_complete" in script
        assert "dataver" in script


def test_the_shell_is_guessed(ok: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert ok("completion") == ok("completion", "fish")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_itself_completes(names: None, ok: Callable[..., str], tmp_path: Path) -> None:
    """The script in a real bash, with words broken as bash breaks them."""
    program = tmp_path / "bin" / "dataver"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dataver.cli "$@"\n')
    program.chmod(0o755)
    script = ok("completion", "bash") + (
        'COMP_LINE="$1"; COMP_POINT=${#1}\n'
        "COMP_WORDBREAKS=$' \\t\\n\"\\'@><=;|&(:'\n"
        "compopt() { :; }\n"
        "_dataver_completion dataver\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    for line, expected in (
        ("dataver che", "checkout"),
        ("dataver log i", "iris"),
        ("dataver show iris@pa", "@paper"),
        ("dataver show iris@prod extra", ""),
    ):
        process = subprocess.run(
            ["bash", "--norc", "-c", script, "bash", line],
            env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert process.stdout.strip() == expected, line
        assert process.stderr == ""
