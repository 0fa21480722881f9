"""Any history, pushed and pulled any way, is the same on the other side, and whole."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from dataver.chunking import ChunkerParameters
from dataver.errors import AlreadyExistsError, ConflictError
from dataver.repository import Repository
from tests.repositories import memory_repository
from tests.strategies import SMALL_CHUNKS, edited, worlds
from tests.worlds import World, read, write

# A history costs as much as many small examples.
fewer = settings(max_examples=settings().max_examples // 3)
CHUNKS = st.sampled_from([None, SMALL_CHUNKS, ChunkerParameters(max_bytes=64 << 10)])


def branches(repository: Repository) -> dict[str, str]:
    if not repository.datasets():
        return {}
    return {ref.name: ref.id for ref in repository.refs("d") if ref.kind == "branch"}


def ids(repository: Repository) -> set[str]:
    """The versions that names lead to."""
    if not repository.datasets():
        return set()
    return {version.id for ref in repository.refs("d") for version in repository.log(f"d@{ref.name}")}


class Histories:
    """Two repositories of one dataset, and what each version of it holds."""

    def __init__(self, folder: Path, first: Repository, second: Repository) -> None:
        self.folder = folder
        self.repositories = [first, second]
        self.worlds: dict[str, World] = {}
        self.tags = self.moments = 0

    def commit(self, repository: Repository, data: st.DataObject) -> None:
        branch = data.draw(st.sampled_from(["main", "side"]))
        heads = branches(repository)
        base = heads.get(branch) or heads.get("main")
        world = data.draw(edited(self.worlds[base]) if base in self.worlds else worlds())
        write(self.folder / "source", world)
        done = repository.commit(
            "d",
            self.folder / "source",
            branch=branch,
            base=f"d@{base}" if base else None,
            allow_empty=True,
            message=str(len(self.worlds)),
            time=self.now(),
        )
        self.worlds[done.id] = world

    def merge(self, repository: Repository, data: st.DataObject) -> None:
        known = self.known(repository)
        if known and "main" in branches(repository):
            other = known[data.draw(st.integers(0, len(known) - 1))]
            try:
                done = repository.merge(f"d@{other}", time=self.now())
            except ConflictError:
                return
            self.learn(repository, done.id)

    def name(self, repository: Repository, data: st.DataObject) -> None:
        known = self.known(repository)
        ref = f"d@{known[data.draw(st.integers(0, len(known) - 1))]}"
        if data.draw(st.booleans()):
            repository.alias(ref, data.draw(st.sampled_from(["prod", "staging"])))
        else:
            self.tags += 1
            repository.tag(ref, f"tag-{self.tags}")

    def known(self, repository: Repository) -> list[str]:
        """What names lead to, the oldest first."""
        found = ids(repository)
        return [version for version in self.worlds if version in found]

    def now(self) -> str:
        """Times that do not depend on the clock, so that ids are the same in each run."""
        self.moments += 1
        return f"2026-01-01T00:{self.moments // 60:02}:{self.moments % 60:02}Z"

    def learn(self, repository: Repository, version: str) -> None:
        """Take down what a version that was made of others holds."""
        if version not in self.worlds:
            self.worlds[version] = self.contents(repository, version)

    def contents(self, repository: Repository, version: str) -> World:
        with TemporaryDirectory(dir=self.folder) as place:
            repository.checkout(f"d@{version}", Path(place, "out"))
            return read(Path(place, "out"))

    def check(self, repository: Repository, versions: set[str]) -> None:
        report = repository.verify(deep=True)
        assert report.ok, report
        for version in versions:
            assert self.contents(repository, version) == self.worlds[version]


@fewer
@given(CHUNKS, CHUNKS, st.data())
def test_a_history_arrives_as_it_was(
    chunks: ChunkerParameters | None, other: ChunkerParameters | None, data: st.DataObject
) -> None:
    with TemporaryDirectory() as scratch:
        here, there = memory_repository(chunks), memory_repository(other)
        histories = Histories(Path(scratch), here, there)
        steps = data.draw(
            st.lists(st.sampled_from(["commit", "commit", "merge", "name", "push"]), max_size=8)
        )
        for step in ("commit", *steps, "push"):
            if step == "push":
                sent = ids(here) - ids(there)
                here.push(to=there)
                histories.check(there, sent)
            else:
                getattr(histories, step)(here, data)
        assert ids(there) == ids(here)
        for version in here.log("d") if "main" in branches(here) else ():
            found = there.show(f"d@{version.id}")
            assert (found.tree, found.version, found.parents) == (
                version.tree,
                version.version,
                version.parents,
            )
        again = here.push(to=there)
        assert (again.refs, again.versions, again.objects, again.bytes) == ([], 0, 0, 0)
        aliases = {ref.name for ref in here.refs("d") if ref.kind == "alias"}
        assert {kept.name.removeprefix("d@") for kept in again.kept} <= aliases
        fixed = {(ref.kind, ref.name, ref.id) for ref in here.refs("d") if ref.kind != "alias"}
        assert fixed == {(ref.kind, ref.name, ref.id) for ref in there.refs("d") if ref.kind != "alias"}


@fewer
@given(CHUNKS, CHUNKS, st.data())
def test_lines_that_part_come_together(
    chunks: ChunkerParameters | None, other: ChunkerParameters | None, data: st.DataObject
) -> None:
    """Two people commit, push and pull in any order: nothing is lost, whatever is refused."""
    with TemporaryDirectory() as scratch:
        one, two = memory_repository(chunks), memory_repository(other)
        histories = Histories(Path(scratch), one, two)
        histories.commit(one, data)
        one.push(to=two)
        numbers: dict[tuple[str, str], str] = {}
        steps = st.sampled_from(["commit", "commit", "push", "pull", "rebase", "merge"])
        for _ in range(data.draw(st.integers(2, 8))):
            here, there = (one, two) if data.draw(st.booleans()) else (two, one)
            step = data.draw(steps)
            before = ids(here)
            try:
                if step == "commit":
                    histories.commit(here, data)
                elif step == "merge":
                    histories.merge(here, data)
                elif step == "push":
                    here.push(to=there)
                else:
                    here.pull(source=there, rebase=step == "rebase")
            except ConflictError:
                pass
            except AlreadyExistsError as error:
                raise AssertionError("no tags were made") from error
            if step != "rebase":
                assert before <= ids(here)
            for repository in (one, two):
                for version in sorted(ids(repository)):
                    histories.learn(repository, version)
                assert repository.verify(deep=True).ok
                for number, version in numbered(repository).items():
                    assert numbers.setdefault((repository.id, number), version) == version, "a number moved"
        for repository in (one, two):
            histories.check(repository, ids(repository))


def numbered(repository: Repository) -> dict[str, str]:
    """What each number of the dataset means."""
    state = repository.session.state()
    dataset = state.dataset("d")
    assert dataset is not None
    return {
        f"v{number}": str(version)
        for number in range(1, 40)
        if (version := state.numbered(dataset, number)) is not None
    }


@fewer
@given(CHUNKS, CHUNKS, st.data())
def test_a_part_of_a_history_is_whole_and_is_filled_in(
    chunks: ChunkerParameters | None, other: ChunkerParameters | None, data: st.DataObject
) -> None:
    with TemporaryDirectory() as scratch:
        here, there = memory_repository(chunks), memory_repository(other)
        histories = Histories(Path(scratch), here, there)
        for step in (
            "commit",
            *data.draw(st.lists(st.sampled_from(["commit", "commit", "merge", "name"]), max_size=8)),
        ):
            getattr(histories, step)(here, data)
        for _ in range(data.draw(st.integers(1, 3))):
            if data.draw(st.booleans()):
                there.pull(source=here, depth=data.draw(st.integers(1, 3)))
            else:
                known = histories.known(here)
                there.pull([f"d@{known[data.draw(st.integers(0, len(known) - 1))]}"], source=here)
            histories.check(there, ids(there))
        there.pull(source=here)
        histories.check(there, ids(there))
        assert ids(there) == ids(here)
        for ref in here.refs("d"):
            assert [v.absent for v in there.log(f"d@{ref.name}")] == [[] for _ in here.log(f"d@{ref.name}")]
        assert numbered(there) == numbered(here)
