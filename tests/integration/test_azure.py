"""Repositories in a container: they do what those on a local disk do, whatever the network does."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pandas
import pytest
from click.testing import CliRunner

from dataver.cli import main
from dataver.errors import ConflictError, StoreError
from dataver.repository import Repository, init, open_repository
from dataver.store import open_store
from dataver.store.azure import BLOCK_BYTES_MAX, GAP_BYTES_MAX, coalesce
from tests.azurite import Azurite
from tests.proxy import Proxy, Request, Spoil
from tests.worlds import noise, text

PROCESSES = 16
FILES = {"a.txt": text("a", 3_000), "sub/noise.bin": noise("n", 700_000), "sub/b": b"b", "empty": b""}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return fill(tmp_path / "source", FILES)


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


# Every verb

ID_OR_TIME = re.compile(r"\b[0-9a-f]{64}\b|\d{4}-\d\d-\d\dT[\d:.]+Z")
LIFE = [
    "init",
    "commit d source -m first --tag paper --time 2026-01-01T00:00:00Z",
    "commit d more --add --into extra -m second --time 2026-01-02T00:00:00Z",
    "commit d source --dry-run",
    "commit other source --branch side --time 2026-01-02T00:00:00Z",
    "status d source",
    "list",
    "log d",
    "show d@paper",
    "ls d -r",
    "ls d sub",
    "diff d@v1 d",
    "diff d@v1 d --stat",
    "alias d@v1 prod",
    "branch d@v1 line",
    "commit d more --add --branch line --time 2026-01-03T00:00:00Z",
    "merge d@line",
    "revert d@v1",
    "rename other another",
    "delete another",
    "delete another --undo",
    "tag d@v2 second",
    "tag d@v2 second --delete",
    "tag d@v1 paper --delete",
    "log d --at 3",
    "checkout d@v2 out",
    "checkout d@v2 out",
    "verify",
    "verify d@v1 --deep",
    "show d@v9",
    "ls d@v1 nothing",
    "init",
]


def life(url: str, place: Path) -> Iterator[tuple[str, int, Any]]:
    """What each command of a repository's life answers."""
    fill(place / "source", FILES)
    fill(place / "more", {"new.txt": b"new", "a.csv": text("csv", 5_000)})
    for line in LIFE:
        verb, *arguments = line.split()
        if verb == "init":
            arguments = [url]
        result = CliRunner().invoke(main, ["--repo", url, verb, *arguments, "--json"])
        yield line, result.exit_code, json.loads(result.stdout or result.stderr)


def compared(answers: list[tuple[str, int, Any]]) -> list[tuple[str, int, Any]]:
    """Answers without what no two repositories have in common; ids and times by the order they come in."""
    known: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return known.setdefault(found[0], f"#{len(known)}")

    hidden = {"stored_bytes", "repository", "url", "bytes", "objects", "requests", "cost_usd", "message"}
    return [
        (line, code, ID_OR_TIME.sub(number, json.dumps(without(document, hidden))))
        for line, code, document in answers
    ]


def without(document: Any, hidden: set[str]) -> Any:
    if isinstance(document, dict):
        return {key: without(value, hidden) for key, value in document.items() if key not in hidden}
    return [without(part, hidden) for part in document] if isinstance(document, list) else document


def test_every_verb_answers_as_on_a_local_disk(
    azure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    for name, url in (("there", azure), ("here", str(tmp_path / "repository"))):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.chdir(place)
        answers.append(list(life(url, place)))
    for there, here in zip(*map(compared, answers), strict=True):
        assert there == here
    codes = {line: code for line, code, _ in answers[0][1:]}
    assert {line: code for line, code in codes.items() if code} == {
        "show d@v9": 3,
        "ls d@v1 nothing": 3,
        "init": 4,
    }
    assert (tmp_path / "there" / "out" / "sub" / "noise.bin").read_bytes() == FILES["sub/noise.bin"]


def test_files_of_a_version_through_fsspec_and_python(azure: str, source: Path) -> None:
    pandas.DataFrame({"id": range(1000)}).to_parquet(source / "t.parquet")
    repository = init(azure)
    version = repository.commit("d", source)
    handle = repository.version("d@v1")
    assert handle.id == version.id
    assert {entry.path: handle.read(entry.path) for entry in handle.files()}.items() >= FILES.items()
    with fsspec.open("dataver://d@v1/sub/noise.bin", repo=azure) as file:
        file.seek(300_000)
        assert file.read(1000) == FILES["sub/noise.bin"][300_000:301_000]
    frame = pandas.read_parquet("dataver://d@v1/t.parquet", storage_options={"repo": azure})
    assert len(frame) == 1000
    assert handle.to_arrow("t.parquet").num_rows == 1000
    assert handle.checkout(source.parent / "out").files == 5


# Between repositories


def test_versions_go_to_a_container_and_back(azure: str, source: Path, tmp_path: Path) -> None:
    here, there = init(str(tmp_path / "here")), init(azure)
    here.commit("d", source, tags=["paper"])
    (source / "a.txt").write_bytes(b"changed")
    second = here.commit("d", source)
    pushed = here.push(to=azure)
    assert {move.name for move in pushed.refs} == {"d@main", "d@paper"}
    assert there.version("d@v2").id == second.id
    assert there.verify(deep=True).ok
    again = here.push(to=azure)
    assert (again.objects, again.bytes) == (0, 0)
    back = init(str(tmp_path / "back"))
    back.pull(source=azure)
    assert back.version("d@paper").read("sub/noise.bin") == FILES["sub/noise.bin"]
    (source / "b.txt").write_bytes(b"theirs")
    there.commit("d", source)
    (source / "c.txt").write_bytes(b"mine")
    (source / "b.txt").unlink()
    back.commit("d", source, base="d@v2")
    with pytest.raises(ConflictError, match="--rebase"):
        back.push(to=azure)
    back.pull(source=azure, rebase=True)
    back.push(to=azure)
    assert {"b.txt", "c.txt"} <= {entry.path for entry in there.version("d").files()}
    assert there.verify(deep=True).ok


# Many writers

COMMIT = """
import sys
from dataver.errors import DataverError
from dataver.repository import open_repository

place, source, base = sys.argv[1:4]
try:
    done = open_repository(place).commit("d", source, base=base or None, add=not base)
    print(done.version, done.id)
except DataverError as error:
    print("error", error.exit_code, error)
"""


def together(calls: list[list[str]]) -> list[str]:
    """The output of one process a call, all at once."""
    children = [
        subprocess.Popen([sys.executable, "-c", COMMIT, *call], stdout=subprocess.PIPE, text=True)
        for call in calls
    ]
    outputs = [child.communicate(timeout=300)[0].strip() for child in children]
    assert all(child.returncode == 0 for child in children), outputs
    return outputs


def test_commits_of_many_processes_are_all_in_the_history(azure: str, tmp_path: Path) -> None:
    repository = init(azure)
    sources = [fill(tmp_path / f"s{n}", {f"file{n}": noise(str(n), 5_000)}) for n in range(PROCESSES)]
    outputs = together([[azure, str(source), ""] for source in sources])
    assert sorted(int(output.split()[0][1:]) for output in outputs) == list(range(1, PROCESSES + 1))
    versions = list(repository.log("d"))
    assert {version.id for version in versions} == {output.split()[1] for output in outputs}
    assert all(len(version.parents) == 1 for version in versions[:-1])
    assert len(list(repository.version("d").files())) == PROCESSES
    assert repository.verify(deep=True).ok


def test_of_overlapping_commits_one_wins_and_the_others_are_told_both_sides(
    azure: str, tmp_path: Path
) -> None:
    repository = init(azure)
    first = repository.commit("d", fill(tmp_path / "first", {"shared": b"before"}))
    sources = [fill(tmp_path / f"s{n}", {"shared": b"by %d" % n}) for n in range(4)]
    outputs = together([[azure, str(source), "d@v1"] for source in sources])
    winners = [output for output in outputs if not output.startswith("error")]
    assert len(winners) == 1
    head = winners[0].split()[1]
    for output in outputs:
        assert output in winners or (
            output.startswith("error 4 ") and head in output and first.id in output and "shared" in output
        )


# What networks do


@pytest.fixture
def through(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[Request], Spoil]], str]]:
    """Gives the URL of a place that is reached through a proxy; its requests meet what is chosen."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(choose: Callable[[Request], Spoil]) -> str:
            proxy = stack.enter_context(Proxy.running(azurite.port, choose))
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.through(proxy.port))
            return f"az://{azurite.container()}/repository"

        yield start


def puts(path: str) -> Callable[[Request], bool]:
    return lambda request: request.method == "PUT" and path in request.path


def test_a_lost_answer_of_a_creation_is_decided(
    through: Callable[[Callable[[Request], Spoil]], str],
) -> None:
    seen: list[Request] = []

    def choose(request: Request) -> Spoil:
        if puts("/packs/")(request):
            seen.append(request)
            return Spoil.ANSWER_LOST if len(seen) == 1 else Spoil.NOTHING
        return Spoil.NOTHING

    store = open_store(through(choose))
    store.put_hint("log/HINT", b"0")
    assert store.put_new("packs/aa/mine", b"mine") is True
    assert len(seen) == 2, "the client repeated its request, and met its own blob"
    assert store.put_new("packs/aa/mine", b"mine") is False
    assert store.get("packs/aa/mine") == b"mine"


@pytest.mark.parametrize("path", ["/packs/", "/log/0000", "/index/", "/probe/", "/log/HINT"])
def test_commits_survive_lost_answers(
    through: Callable[[Callable[[Request], Spoil]], str], source: Path, path: str
) -> None:
    rng = random.Random(path)
    lost: list[Request] = []

    def choose(request: Request) -> Spoil:
        if puts(path)(request) and rng.random() < 0.5 and len(lost) < 12:
            lost.append(request)
            return Spoil.ANSWER_LOST
        return Spoil.NOTHING

    repository = init(through(choose))
    for number in range(6):
        (source / "changing").write_bytes(noise(str(number), 20_000))
        done = repository.commit("d", source)
        assert (done.version, done.created) == (f"v{number + 1}", True)
    assert lost
    assert [info.version for info in repository.log("d")] == [f"v{n}" for n in range(6, 0, -1)]
    assert repository.verify(deep=True).ok


def test_reads_survive_cut_answers_and_a_busy_service(
    through: Callable[[Callable[[Request], Spoil]], str], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAVER_CACHE_MAX", "0")
    rng = random.Random(5)
    spoiled: list[str] = []

    def choose(request: Request) -> Spoil:
        # Nobody reads through a network that spoils the same answer for ever.
        if spoiling and spoiled.count(request.path) < 2 and rng.random() < 0.2:
            spoiled.append(request.path)
            return rng.choice([Spoil.BUSY, Spoil.ANSWER_LOST, Spoil.ANSWER_CUT])
        return Spoil.NOTHING

    spoiling = False
    repository = init(through(choose))
    repository.commit("d", source)
    spoiling = True
    for _ in range(5):
        version = open_repository(repository.url).version("d")
        assert {entry.path: version.read(entry.path) for entry in version.files()} == FILES
    assert len(spoiled) > 5


def test_a_service_that_stays_busy_ends_the_commit_and_a_repeat_succeeds(
    through: Callable[[Callable[[Request], Spoil]], str], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataver.store.azure_client.RETRY_PAUSE_S", 0.01)
    busy = False
    url = through(lambda request: Spoil.BUSY if busy and puts("/packs/")(request) else Spoil.NOTHING)
    repository = init(url)
    busy = True
    with pytest.raises(StoreError, match="503"):
        repository.commit("d", source)
    busy = False
    assert repository.commit("d", source).version == "v1"
    assert repository.verify(deep=True).ok


# Ranges


@pytest.mark.parametrize(
    ("ranges", "blocks"),
    [
        ([], []),
        ([(5, 5), (0, 3)], [(0, 10)]),
        ([(0, 10), (2, 3)], [(0, 10)]),
        ([(0, 10), (10 + GAP_BYTES_MAX, 5)], [(0, 15 + GAP_BYTES_MAX)]),
        ([(0, 10), (11 + GAP_BYTES_MAX, 5)], [(0, 10), (11 + GAP_BYTES_MAX, 5)]),
        ([(0, BLOCK_BYTES_MAX), (BLOCK_BYTES_MAX, 1)], [(0, BLOCK_BYTES_MAX), (BLOCK_BYTES_MAX, 1)]),
        ([(0, 3 * BLOCK_BYTES_MAX), (9, 1)], [(0, 3 * BLOCK_BYTES_MAX)]),
    ],
)
def test_ranges_near_each_other_are_one_request(
    ranges: list[tuple[int, int]], blocks: list[tuple[int, int]]
) -> None:
    assert coalesce(ranges) == blocks


def test_a_fork_opens_the_repository_again(azure: str, source: Path) -> None:
    init(azure).commit("d", source)
    script = """
import os, sys
import dataver

version = dataver.open(sys.argv[1]).version("d")
expected = version.read("a.txt")
child = os.fork()
if child == 0:
    os._exit(0 if version.read("a.txt") == expected else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, azure], check=True, timeout=60)


def test_a_repository_object_is_pickled_by_its_url(azure: str, source: Path) -> None:
    import pickle

    init(azure).commit("d", source)
    again: Repository = pickle.loads(pickle.dumps(open_repository(azure)))
    assert again.version("d").read("sub/b") == b"b"
    assert os.environ["AZURE_STORAGE_CONNECTION_STRING"].encode() not in pickle.dumps(again)


def test_a_forecast_knows_what_requests_cost(azure: str, source: Path) -> None:
    forecast = init(azure).commit("d", source, dry_run=True).dry_run
    assert forecast is not None
    assert forecast.cost_usd == pytest.approx(forecast.requests * 6.5e-6)


def test_an_overlap_is_a_conflict(azure: str, source: Path, tmp_path: Path) -> None:
    repository = init(azure)
    repository.commit("d", source)
    repository.commit("d", fill(tmp_path / "other", {"a.txt": b"theirs"}), add=True)
    (source / "a.txt").write_bytes(b"mine")
    with pytest.raises(ConflictError, match=r"both sides changed a\.txt"):
        repository.commit("d", source)
