"""A repository against a model of dictionaries, through everything that commands do to it."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dataver.errors import AlreadyExistsError, DataverError, RefNotFoundError
from dataver.hashing import blake3_digest
from dataver.repository import Repository, init, open_repository
from tests.repositories import memory_repository
from tests.stateful.model import MAIN, Dataset, Files, Made
from tests.worlds import noise

_T = TypeVar("_T")

# None is a folder of another, neighbours sort around the separator.
PATHS = ["a", "b", "c/x", "c/y", "c.d", "c0", "in/a", "in/b", "\u2603/\n"]
FOLDERS = ["one", "two"]
NAMES = ["iris", "other/set"]
REFS = ["side", "dev", "paper", "prod"]

paths = st.sampled_from(PATHS)
folders = st.sampled_from(FOLDERS)
names = st.sampled_from(NAMES)
refs = st.sampled_from(REFS)
branches = st.sampled_from([MAIN, MAIN, MAIN, "side", "dev"])
contents = st.one_of(
    st.sampled_from([b"", b"1", b"2", b"3"]), st.builds(noise, st.integers(0, 3), st.just(70_000))
)
selectors = st.sampled_from(["latest", "main", "v1", "v2", "v3", "latest~", "main~~", "v9", *REFS, "side~"])


class RepositoryMachine(RuleBasedStateMachine):
    """One repository in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="stateful-"))
        self.repository = self.make()
        self.datasets: dict[str, Dataset] = {}
        self.deleted: list[tuple[str, Dataset]] = []
        self.files: dict[str, Files] = {name: {} for name in FOLDERS}
        self.history: list[dict[str, Dataset]] = [{}]

    def make(self) -> Repository:
        return memory_repository()

    @initialize()
    def folders_are_there(self) -> None:
        for name in FOLDERS:
            (self.place / name).mkdir()

    def teardown(self) -> None:
        try:
            report = self.repository.verify(deep=True)
            assert report.ok, report.damaged
        finally:
            shutil.rmtree(self.place)

    # Comparing

    def both(self, model: Callable[[], _T], engine: Callable[[], Any]) -> tuple[_T, Any] | None:
        """What the model and the engine give; None where both refuse, with the same kind of error."""
        expected: type[BaseException] | None = None
        value: _T | None = None
        try:
            value = model()
        except DataverError as error:
            expected = type(error)
        entries = self.entries()
        if expected is not None:
            with pytest.raises(expected):
                engine()
            assert self.entries() == entries
            return None
        found = engine()
        assert self.entries() <= entries + 1
        if self.entries() > entries:
            self.history.append({})
        return value, found  # type: ignore[return-value]

    def entries(self) -> int:
        return self.repository.session.log.tail().entry.number

    def dataset(self, name: str) -> Dataset:
        if name not in self.datasets:
            raise RefNotFoundError(name)
        return self.datasets[name]

    def remember_history(self) -> None:
        """What the newest entry should show when it is looked at later."""
        if not self.history[-1]:
            self.history[-1] = copy.deepcopy(self.datasets)

    def check_made(self, made: Made, done: Any, branch: str, dataset: Dataset) -> None:
        assert done.created == made.created
        if made.created:
            assert tuple(done.parents) == made.parents
            assert done.rebased_onto == made.rebased_onto
            assert (done.files, done.bytes) == (len(made.files), sum(map(len, made.files.values())))
            dataset.record(done.id, made, branch)
            number = f"v{len(dataset.numbered)}" if branch == MAIN else None
            assert done.version == number

    # Folders

    @rule(folder=folders, path=paths, data=contents)
    def write_file(self, folder: str, path: str, data: bytes) -> None:
        place = self.place / folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        self.files[folder][path] = data

    @precondition(lambda self: any(self.files.values()))
    @rule(data=st.data(), folder=folders)
    def remove_file(self, data: st.DataObject, folder: str) -> None:
        if not self.files[folder]:
            return
        path = data.draw(st.sampled_from(sorted(self.files[folder])))
        place = self.place / folder / path
        place.unlink()
        del self.files[folder][path]
        if place.parent != self.place / folder and not list(place.parent.iterdir()):
            place.parent.rmdir()

    @rule(name=names, folder=folders, selector=selectors)
    def check_out(self, name: str, folder: str, selector: str) -> None:
        """Into an emptied folder, which is then based on that version."""
        place = self.place / folder
        version = self.both(
            lambda: self.dataset(name).resolve(selector),
            lambda: self.repository.version(f"{name}@{selector}"),
        )
        if version is None:
            return
        shutil.rmtree(place)
        place.mkdir()
        self.repository.checkout(f"{name}@{selector}", place)
        self.files[folder] = dict(self.datasets[name].versions[version[0]].files)
        assert read_folder(place) == self.files[folder]
        from tests.stateful.model import Basis

        self.datasets[name].bases[folder, ""] = Basis(version[0], self.files[folder].copy())

    # Versions

    @rule(
        name=names,
        folder=folders,
        branch=branches,
        add=st.booleans(),
        into=st.sampled_from(["", "", "in"]),
        tag=st.one_of(st.none(), st.none(), refs),
    )
    def commit(self, name: str, folder: str, branch: str, add: bool, into: str, tag: str | None) -> None:
        dataset = self.datasets.get(name, Dataset())
        files = self.files[folder]
        if into and any(path.startswith("in/") for path in files):
            return  # It would become in/in/…, and "in" a folder of a folder.
        if tag == branch:
            return
        tags = () if tag is None else (tag,)
        result = self.both(
            lambda: dataset.commit(folder, files, branch, add=add, into=into, tag=tag),
            lambda: self.repository.commit(
                name, self.place / folder, branch=branch, add=add, into=into, tags=tags
            ),
        )
        if result is None:
            return
        made, done = result
        basis_before = dataset.basis(folder, into, branch, add=add).version
        head = dataset.refs.get(branch, ("", basis_before))[1]
        known = copy.deepcopy(dataset)
        self.check_made(made, done, branch, dataset)
        if not add:
            known.versions.update(dataset.versions)
            known.remember(folder, into, branch, files, made, done.id if made.created else None)
            dataset.bases = known.bases
        if made.created:
            self.datasets[name] = dataset
            head = done.id
        if tag is not None and head is not None:
            dataset.refs[tag] = ("tag", head)
            dataset.gone_tags.pop(tag, None)
        self.remember_history()

    @rule(name=names, selector=selectors, branch=branches)
    def merge(self, name: str, selector: str, branch: str) -> None:
        result = self.both(
            lambda: self.dataset(name).merge(self.dataset(name).resolve(selector), branch),
            lambda: self.repository.merge(f"{name}@{selector}", branch=branch),
        )
        if result is not None:
            made, done = result
            if made is None:
                assert not done.created
            else:
                self.check_made(made, done, branch, self.datasets[name])
            self.remember_history()

    @rule(name=names, selector=selectors, branch=branches)
    def revert(self, name: str, selector: str, branch: str) -> None:
        result = self.both(
            lambda: self.dataset(name).revert(self.dataset(name).resolve(selector), branch),
            lambda: self.repository.revert(f"{name}@{selector}", branch=branch),
        )
        if result is not None:
            self.check_made(result[0], result[1], branch, self.datasets[name])
            self.remember_history()

    # Names

    @rule(name=names, selector=selectors, ref=refs, kind=st.sampled_from(["tag", "alias", "branch"]))
    def point(self, name: str, selector: str, ref: str, kind: str) -> None:
        def model() -> tuple[str, str | None]:
            dataset = self.dataset(name)
            target = dataset.resolve(selector)
            dataset.check_name(kind, ref, target)
            return target, dataset.refs.get(ref, ("", None))[1]

        result = self.both(model, lambda: getattr(self.repository, kind)(f"{name}@{selector}", ref))
        if result is not None:
            (target, previous), done = result
            assert (done.name, done.id, done.previous) == (ref, target, previous)
            self.datasets[name].refs[ref] = (kind, target)
            self.datasets[name].gone_tags.pop(ref, None)
            self.remember_history()

    @rule(name=names, ref=st.sampled_from([*REFS, MAIN]), kind=st.sampled_from(["tag", "alias", "branch"]))
    def delete_name(self, name: str, ref: str, kind: str) -> None:
        result = self.both(
            lambda: copy.deepcopy(self.dataset(name)).delete(kind, ref),
            lambda: self.repository.delete_ref(kind, name, ref),
        )
        if result is not None:
            assert result[1].previous == self.datasets[name].refs[ref][1]
            self.datasets[name].delete(kind, ref)
            self.remember_history()

    @rule(name=names, new_name=names)
    def rename(self, name: str, new_name: str) -> None:
        def model() -> None:
            self.dataset(name)
            if new_name in self.datasets:
                raise AlreadyExistsError(new_name)

        if self.both(model, lambda: self.repository.rename(name, new_name)) is not None:
            self.datasets[new_name] = self.datasets.pop(name)
            self.remember_history()

    @rule(name=names)
    def delete_dataset(self, name: str) -> None:
        if self.both(lambda: self.dataset(name), lambda: self.repository.delete_dataset(name)) is not None:
            self.deleted.append((name, self.datasets.pop(name)))
            self.remember_history()

    @rule(name=names)
    def undelete_dataset(self, name: str) -> None:
        gone = [dataset for had, dataset in self.deleted if had == name]

        def model() -> None:
            if not gone:
                raise RefNotFoundError(name)
            if name in self.datasets:
                raise AlreadyExistsError(name)

        if self.both(model, lambda: self.repository.undelete_dataset(name)) is not None:
            # The one that was deleted last.
            self.deleted.remove((name, gone[-1]))
            self.datasets[name] = gone[-1]
            self.remember_history()

    # Looking

    @rule(name=names, folder=folders)
    def status(self, name: str, folder: str) -> None:
        result = self.both(
            lambda: (
                self.dataset(name).versions[self.dataset(name).resolve(MAIN)].files
                if MAIN in self.dataset(name).refs
                else {}
            ),
            lambda: self.repository.status(name, self.place / folder),
        )
        if result is not None:
            head, found = result
            now = self.files[folder]
            renamed = {path for pair in found.renamed for path in pair}
            assert {*found.added, *found.deleted} | renamed == {*head} ^ {*now}
            assert found.modified == sorted(p for p in {*head} & {*now} if head[p] != now[p])
            assert all(head[old] == now[new] != b"" for old, new in found.renamed)

    @rule(name=names, selector=selectors)
    def look(self, name: str, selector: str) -> None:
        result = self.both(
            lambda: self.dataset(name).resolve(selector),
            lambda: self.repository.version(f"{name}@{selector}"),
        )
        if result is not None:
            id, version = result
            dataset = self.datasets[name]
            assert version.id == id
            assert [info.id for info in self.repository.log(f"{name}@{selector}")] == dataset.log(id)
            files = dataset.versions[id].files
            assert {f.path: f.digest for f in version.files()} == {p: digest(d) for p, d in files.items()}
            assert {path: version.read(path) for path in files} == files

    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        """What an earlier entry showed it shows for ever."""
        number = data.draw(st.integers(0, len(self.history) - 1))
        then = open_repository(self.repository.url, at=str(number))
        check_same(then, self.history[number])

    @rule()
    def open_again(self) -> None:
        self.repository = open_repository(self.repository.url)

    @rule()
    def make_again(self) -> None:
        with pytest.raises(AlreadyExistsError):
            init(self.repository.url)

    @invariant()
    def same_as_the_model(self) -> None:
        check_same(self.repository, self.datasets)


def digest(data: bytes) -> str:
    return str(blake3_digest(data))


def read_folder(place: Path) -> Files:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def check_same(repository: Repository, datasets: dict[str, Dataset]) -> None:
    """Datasets, names and numbers."""
    infos = {info.name: info for info in repository.datasets()}
    assert list(infos) == sorted(datasets)
    for name, dataset in datasets.items():
        assert {r.name: (r.kind, r.id) for r in repository.refs(name)} == dataset.refs
        if MAIN in dataset.refs:
            assert (infos[name].id, infos[name].head) == (dataset.refs[MAIN][1], f"v{len(dataset.numbered)}")
        for number, id in enumerate(dataset.numbered, 1):
            info = repository.version(f"{name}@v{number}")
            assert (info.id, info.name) == (id, f"{name}@v{number}")


class LocalMachine(RepositoryMachine):
    """One repository on disk."""

    def make(self) -> Repository:
        return init(str(self.place / "repository"))


class TestRepository(RepositoryMachine.TestCase):  # type: ignore[valid-type,misc]
    """Many short lives."""


class TestLocalRepository(LocalMachine.TestCase):  # type: ignore[valid-type,misc]
    """Fewer: each write waits for the disk."""

    settings = settings(max_examples=max(5, settings().max_examples // 10))
