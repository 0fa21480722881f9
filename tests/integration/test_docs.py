"""The documents do what they show: their commands run, their output is true, their links lead somewhere.

In each document with commands, the blocks run in order in one empty folder: `$ ` lines of console
and sh blocks in a shell, python blocks in a Python of their own. A text block right behind a python
block is what that prints. A command fails where `error:` is shown, and nowhere else.

Output that is shown is compared. `…` stands for anything within a line, and a line of `…` alone for any
lines. What differs from run to run, or from one release of a compressor to the next, is shown as it was
once: an id fits another id, always the same one on a page; a time any time; a size of 100 bytes or more
any such size. Blanks count as one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest

from dataver.cli import errors_reference
from tests.azurite import Azurite

PROJECT = Path(__file__).parents[2]
AUTHOR = "Ada Example <ada@example.org>"
DOCS = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").rglob("*.md"))]
GUIDES = [
    PROJECT / "README.md",
    PROJECT / "docs" / "tutorial.md",
    PROJECT / "docs" / "tutorial-model.md",
    *sorted((PROJECT / "docs" / "howto").glob("*.md")),
]
ELSEWHERE = {
    *("application-insights", "azureml", "import", "mlflow", "opentelemetry", "standards", "tensorboard"),
}
"""What runs where the other tool is: in tests/NAME."""
GUIDES = [page for page in GUIDES if page.stem not in ELSEWHERE]

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{8})\b")
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ")
SIZE = re.compile(r"[\d.]+ (B|KiB|MiB|GiB)\b")
WORD = re.compile(rf"{ID.pattern}|{TIME.pattern}|[\d.]+ (?:B|KiB|MiB|GiB)\b|…|\s+|\w+|.")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to run. `shown` is its output in the document, None where the document shows none."""

    arguments: tuple[str, ...]
    shown: str | None

    @property
    def fails(self) -> bool:
        return self.shown is not None and re.search(r"^error:", self.shown, re.MULTILINE) is not None


def steps(document: str) -> list[Step]:
    """All that a document asks for, in order."""
    found: list[Step] = []
    end = -1
    for block in BLOCK.finditer(document):
        language, body = block.groups()
        if language in ("console", "sh"):
            found += commands(body)
        elif language == "python":
            found.append(Step((sys.executable, "-c", body), None))
            end = block.end()
        elif language == "text" and end >= 0 and not document[end : block.start()].strip():
            found[-1] = Step(found[-1].arguments, body.strip("\n"))
    return found


def section(page: str, heading: str) -> list[Step]:
    """What the section `## heading` of a page asks for."""
    text = (PROJECT / "docs" / page).read_text(encoding="utf-8")
    return steps(text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0])


def commands(body: str) -> list[Step]:
    """The commands of a block, each with the lines behind it."""
    first, *parts = re.split(r"^\$ ", body, flags=re.MULTILINE)
    assert not first.strip(), f"a block of commands starts with `$ `, not with {first!r}"
    assert parts, "a block of commands without one"
    found = []
    for part in parts:
        command, _, output = re.sub(r"\\\n\s*", "", part).partition("\n")
        found.append(Step(("bash", "-c", command), output.strip("\n") or None))
    return found


def agree(shown: str, output: str, ids: dict[str, str]) -> bool:
    """Whether output is what a page shows. `ids` has the real id of each that the page has shown so far."""
    expected = []
    for line in shown.split("\n"):
        if line.strip() == "…":
            expected.append(r"(?:.*\n)*?")
        else:
            words = [pattern(word) for word in WORD.findall(line)]
            expected.append(" *" + "".join(words).removesuffix(" +") + r" *\n")
    found = re.fullmatch("".join(expected), output.strip("\n") + "\n")
    if found is None:
        return False
    for mine, real in zip(ID.findall(shown), found.groups(), strict=True):
        if ids.setdefault(mine[:8], real[:8]) != real[:8]:
            return False
    return len(set(ids.values())) == len(ids)


def pattern(word: str) -> str:
    """The expression for one word of shown output; an id is a group of it."""
    if word.isspace():
        return " +"
    if word == "…":
        return ".*"
    if ID.fullmatch(word):
        return f"([0-9a-f]{{{len(word)}}})"
    if TIME.fullmatch(word):
        return TIME.pattern
    size = SIZE.fullmatch(word)
    if size and (size[1] != "B" or len(word) > len("99 B")):
        return r"(?:\d{3} B|[\d.]+ [KMG]iB)"
    return re.escape(word)


def run(step: Step, folder: Path, ids: dict[str, str]) -> str | None:
    """What is wrong with a step, if anything is."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "HOME": str(folder), "NO_COLOR": "1", "DATAVER_AUTHOR": AUTHOR}
    process = subprocess.run(
        step.arguments,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    if (process.returncode != 0) != step.fails:
        wrong = f"ended with exit code {process.returncode}"
    elif step.shown is not None and not agree(step.shown, process.stdout, ids):
        wrong = f"shown:\n{step.shown}\n"
    else:
        return None
    return f"{step.arguments[-1]}\n{wrong}\noutput:\n{process.stdout}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_commands_do_what_the_page_shows(
    page: Path, tmp_path: Path, azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.name == "azure.md":
        # What the page exports lasts for one command here.
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
        monkeypatch.setenv("DATAVER_REPO", "az://team/ml")
    found = steps(page.read_text(encoding="utf-8"))
    assert found, "a page of commands without any"
    ids: dict[str, str] = {}
    for step in found:
        wrong = run(step, tmp_path, ids)
        assert wrong is None, wrong


def test_links_lead_somewhere() -> None:
    dead = []
    for page in DOCS:
        for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (page.parent / unquote(path)) if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                dead.append(f"{page.relative_to(PROJECT)}: {link}")
    assert not dead


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as the usual viewers make them."""
    text = CODE.sub(
        lambda code: "" if code[0].startswith("```") else code[0], page.read_text(encoding="utf-8")
    )
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [PROJECT / "README.md"]
    while todo:
        page = todo.pop()
        if page.is_dir():
            todo += page.glob("*.md")
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links if ":" not in link]
    assert [str(page.relative_to(PROJECT)) for page in DOCS if page not in seen] == []


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ("```console\n$ echo yes\nyes\n```", False),
        ("```console\n$ echo yes\nno\n```", True),
        ("```console\n$ echo a; echo b\na\n```", True),
        ("```console\n$ echo a 1; echo x; echo b 2\na …\n…\nb …\n```", False),
        ("```console\n$ false\n```", True),
        ("```console\n$ echo 'error: no'; exit 3\nerror: …\n```", False),
        ("```console\n$ echo 'error: no'\nerror: no\n```", True),
        ("```sh\n$ echo yes >&2\nno\n```", True),
        ("```python\nprint(1)\n```\n\n```text\n1\n```", False),
        ("```python\nprint(1)\n```\n\n```text\n2\n```", True),
        ("```python\nraise SystemExit(1)\n```", True),
    ],
)
def test_what_is_wrong_is_found(document: str, wrong: bool, tmp_path: Path) -> None:
    assert [run(step, tmp_path, {}) is not None for step in steps(document)] == [wrong]


def test_ids_times_and_sizes_fit_others() -> None:
    ids: dict[str, str] = {}
    assert agree("v2  00aa11bb…\nv1  22cc33dd…", "v2  99887766…\nv1   55443322…", ids)
    assert agree("id  " + "00aa11bb" * 8, "id " + "99887766" * 8, ids)
    assert not agree("22cc33dd", "99887766", ids), "another one than before"
    assert not agree("abcdef00", "55443322", ids), "one for two"
    assert agree("2026-01-05 09:00:00Z  1.2 KiB", "2031-11-30 10:11:12Z  110 B", {})
    assert not agree("24 B", "25 B", {})
    assert not agree("0 B new", "210 B new", {})
    assert not agree("210 B new", "0 B new", {})


def test_the_page_of_errors_is_what_the_code_says() -> None:
    page = PROJECT / "docs" / "reference" / "errors.md"
    assert page.read_text(encoding="utf-8") == errors_reference.reference(), (
        "docs/reference/errors.md is stale: python -m dataver.cli.errors_reference > docs/reference/errors.md"
    )
