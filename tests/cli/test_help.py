"""Help, the reference made of it, and how little is loaded for both."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from dataver.cli import VERBS, main, reference
from dataver.cli.family import Family

if TYPE_CHECKING:
    from click.testing import Result

# Without a NAME, or a VALUE, tags, aliases, branches and settings are listed.
READING_VERBS = {
    *("status", "list", "log", "show", "card", "ls", "cat", "stats", "diff", "checkout", "verify"),
    *("tag", "alias", "branch"),
    "export azureml",
    *(f"azureml {kind}" for kind in ("component", "pipeline", "schedule", "monitor", "bump")),
    *("lock", "split", "overlap", "drift", "lineage", "who-used", "verify-signature", "config", "audit"),
}
WRITING_VERBS = {
    *("init", "commit", "tag", "alias", "branch", "merge", "revert", "rename", "delete"),
    *("push", "pull", "doctor", "sign", "trust", "link", "repair"),
}
HEAVY = {
    *("numpy", "pyarrow", "fsspec", "zstandard", "rich", "pyfastcdc", "pathspec", "pandas", "asyncio"),
    "dataver.repository",
}
PROJECT = Path(__file__).parents[2]


def command_of(verb: str) -> click.Command:
    """The command of a verb, or of a kind of one: `export croissant`."""
    command: click.Command = main
    for word in verb.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    return command


KINDS = [
    f"{verb} {kind}"
    for verb in VERBS
    if isinstance(command := command_of(verb), Family)
    for kind in command.kinds
]
FAMILIES = {kind.split()[0] for kind in KINDS}
"""Verbs that only say which kinds they have."""
ALL = [*VERBS, *KINDS]


def test_every_verb_of_the_contract_is_there() -> None:
    assert set(ALL) >= READING_VERBS | WRITING_VERBS


@pytest.mark.parametrize("verb", ALL)
def test_help_of_every_verb_ends_with_an_example(verb: str, run: Callable[..., Result]) -> None:
    for option in ("--help", "-h"):
        result = run(*verb.split(), option)
        assert result.exit_code == 0
        assert result.stderr == ""
        _, heading, examples = result.stdout.rpartition("\nExample")
        assert heading
        assert f"dataver {verb} " in examples + " " or f"dataver {verb}\n" in examples


@pytest.mark.parametrize("verb", ALL)
def test_examples_are_read_by_the_parser(verb: str) -> None:
    """An example that the parser refuses teaches the wrong thing."""
    import shlex

    command = command_of(verb)
    for example in command.examples:  # type: ignore[attr-defined]
        if "$(" in example:
            continue
        words = shlex.split(example.partition(" | ")[0].partition(" > ")[0], comments=True)
        assert words[0] == "dataver"
        arguments = words[words.index(verb.rsplit(maxsplit=1)[-1]) + 1 :]
        command.make_context(verb, arguments, parent=click.Context(main, **main.context_settings))


@pytest.mark.parametrize("verb", [verb for verb in ALL if verb not in FAMILIES])
def test_json_is_an_option_of_every_verb_but_cat(verb: str) -> None:
    names = {name for parameter in command_of(verb).params for name in parameter.opts}
    assert ("--json" in names) == (verb != "cat")
    assert ("--at" in names) == (verb in READING_VERBS)
    assert {"--repo", "-R", "--storage-option", "--debug", "--progress"} <= names


def test_help_lists_every_verb(run: Callable[..., Result]) -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert [
        line.split()[0] for line in result.stdout.split("Verbs:\n")[1].splitlines()[: len(VERBS)]
    ] == list(VERBS)


def test_the_package_is_the_program_too() -> None:
    command = [sys.executable, "-m", "dataver", "--version"]
    process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert process.stdout.startswith("dataver ")


def test_version(run: Callable[..., Result]) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("dataver ")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["commit", "--help"], ["log"], ["nonsense"], ["completion", "zsh"]]
)
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from dataver.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('LOADED', *sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(process.stdout.partition("LOADED ")[2].split())
    assert "dataver.cli" in loaded
    assert not loaded & HEAVY
    verbs = {name for name in VERBS if f"dataver.cli.{name}" in loaded}
    assert verbs <= set(arguments)


def test_reference_is_what_the_code_says() -> None:
    page = PROJECT / "docs" / "reference" / "cli.md"
    assert page.read_text(encoding="utf-8") == reference.reference(), (
        "docs/reference/cli.md is stale: python -m dataver.cli.reference > docs/reference/cli.md"
    )
