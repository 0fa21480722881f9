"""A repository against a model of plain dictionaries, through any order of its verbs."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dataver.errors import AlreadyExistsError, ConflictError, RefNotFoundError
from dataver.repository import Repository, init

Files = dict[str, bytes]

NAMES = st.sampled_from(["a", "b", "c", "deep/a", "deep/b", "deep/er/a", "z z", "\u00e9\n"])
BYTES = st.one_of(st.binary(max_size=40), st.integers(0, 3).map(lambda seed: bytes([seed]) * 40_000))
TAGS = st.sampled_from(["one", "two", "three"])
DATASETS = st.sampled_from(["d", "other/set"])


class Line:
    """What the model knows of one dataset."""

    def __init__(self) -> None:
        self.versions: list[Files] = []
        self.tags: dict[str, int] = {}
        self.dead_tags: dict[str, int] = {}
        self.aliases: dict[str, int] = {}

    @property
    def head(self) -> Files:
        return self.versions[-1] if self.versions else {}


class Model(RuleBasedStateMachine):
    """Each rule does the same to the repository and to the model; the invariants compare them."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = Path(mkdtemp())
        self.lines: dict[str, Line] = {}
        self.deleted: dict[str, Line] = {}
        self.moments: list[tuple[int, str, int]] = []
        self.targets = 0
        self.repository: Repository

    @initialize(local=st.booleans())
    def begin(self, local: bool) -> None:
        self.repository = init(str(self.scratch / "repository") if local else f"memory://{uuid4().hex}")

    def teardown(self) -> None:
        shutil.rmtree(self.scratch, ignore_errors=True)

    def source(self, files: Files) -> Path:
        folder = self.scratch / f"source-{uuid4().hex}"
        folder.mkdir()
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    def line(self, dataset: str) -> Line:
        return self.lines.setdefault(dataset, Line())

    def took(self, dataset: str, expected: Files, created: bool, version: str | None) -> None:
        """Note a version that was made, or check that none had to be."""
        line = self.line(dataset)
        assert created == (expected != line.head)
        if created:
            line.versions.append(dict(expected))
            assert version == f"v{len(line.versions)}"
            entry = self.repository.session.log.tail().entry.number
            self.moments.append((entry, dataset, len(line.versions)))
        elif not line.versions:
            del self.lines[dataset]

    @rule(dataset=DATASETS, files=st.dictionaries(NAMES, BYTES, max_size=6))
    def commit(self, dataset: str, files: Files) -> None:
        done = self.repository.commit(dataset, self.source(files))
        self.took(dataset, files, done.created, done.version)

    @rule(dataset=DATASETS, files=st.dictionaries(NAMES, BYTES, min_size=1, max_size=3))
    def add(self, dataset: str, files: Files) -> None:
        expected = {**self.line(dataset).head, **files}
        done = self.repository.commit(dataset, self.source(files), add=True)
        self.took(dataset, expected, done.created, done.version)

    @rule(dataset=DATASETS, files=st.dictionaries(NAMES, BYTES, min_size=1, max_size=3))
    def into(self, dataset: str, files: Files) -> None:
        inside = {f"sub/{name}": data for name, data in files.items()}
        kept = {name: data for name, data in self.line(dataset).head.items() if not name.startswith("sub/")}
        done = self.repository.commit(dataset, self.source(files), into="sub")
        self.took(dataset, {**kept, **inside}, done.created, done.version)

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), name=TAGS)
    def tag(self, data: st.DataObject, name: str) -> None:
        dataset, line, number = self.some_version(data)
        taken = line.tags.get(name, line.dead_tags.get(name, line.aliases.get(name, number)))
        if taken != number or name in line.aliases:
            with pytest.raises(AlreadyExistsError):
                self.repository.tag(f"{dataset}@v{number}", name)
        else:
            self.repository.tag(f"{dataset}@v{number}", name)
            line.tags[name] = number
            line.dead_tags.pop(name, None)

    @precondition(lambda self: any(line.tags for line in self.lines.values()))
    @rule(data=st.data())
    def delete_tag(self, data: st.DataObject) -> None:
        dataset = data.draw(st.sampled_from(sorted(name for name, line in self.lines.items() if line.tags)))
        line = self.lines[dataset]
        name = data.draw(st.sampled_from(sorted(line.tags)))
        self.repository.delete_ref("tag", dataset, name)
        line.dead_tags[name] = line.tags.pop(name)
        with pytest.raises(RefNotFoundError):
            self.repository.show(f"{dataset}@{name}")

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def alias(self, data: st.DataObject) -> None:
        dataset, line, number = self.some_version(data)
        previous = self.repository.alias(f"{dataset}@v{number}", "prod").previous
        assert (previous is None) == ("prod" not in line.aliases)
        line.aliases["prod"] = number

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        dataset, line, number = self.some_version(data)
        done = self.repository.revert(f"{dataset}@v{number}")
        self.took(dataset, line.versions[number - 1], done.created, done.version)

    @precondition(lambda self: self.lines)
    @rule(data=st.data(), files=st.dictionaries(NAMES, BYTES, min_size=1, max_size=2))
    def branch_and_merge(self, data: st.DataObject, files: Files) -> None:
        dataset, line, number = self.some_version(data)
        name = f"side-{uuid4().hex}x"
        self.repository.branch(f"{dataset}@v{number}", name)
        base = line.versions[number - 1]
        done = self.repository.commit(dataset, self.source(files), branch=name, add=True)
        theirs = {path: body for path, body in files.items() if base.get(path) != body}
        assert done.created == bool(theirs)
        if not theirs:
            return
        ours = {p for p in {*base, *line.head} if base.get(p) != line.head.get(p)}
        if any(path in ours and line.head.get(path) != body for path, body in theirs.items()):
            with pytest.raises(ConflictError):
                self.repository.merge(f"{dataset}@{name}")
            return
        merged = self.repository.merge(f"{dataset}@{name}")
        assert merged.created
        assert len(merged.parents) == 2
        line.versions.append({**line.head, **files})

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def rename(self, data: st.DataObject) -> None:
        dataset, line, _ = self.some_version(data)
        self.repository.rename(dataset, "renamed")
        with pytest.raises(RefNotFoundError):
            self.repository.show(dataset)
        assert self.repository.version(f"renamed@v{len(line.versions)}").id
        self.repository.rename("renamed", dataset)

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def delete_and_bring_back(self, data: st.DataObject) -> None:
        dataset, _, _ = self.some_version(data)
        self.repository.delete_dataset(dataset)
        assert dataset not in {info.name for info in self.repository.datasets()}
        self.repository.undelete_dataset(dataset)

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def checkout(self, data: st.DataObject) -> None:
        dataset, line, number = self.some_version(data)
        self.targets += 1
        target = self.scratch / f"target-{self.targets}"
        self.repository.checkout(f"{dataset}@v{number}", target)
        found = {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
        assert found == line.versions[number - 1]
        assert self.repository.checkout(f"{dataset}@v{number}", target).written_files == 0

    @precondition(lambda self: self.moments)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        entry, dataset, number = data.draw(st.sampled_from(self.moments))
        session = self.repository.session
        session.at = entry
        try:
            assert self.repository.show(dataset).version == f"v{number}"
        finally:
            session.at = None

    def some_version(self, data: st.DataObject) -> tuple[str, Line, int]:
        dataset = data.draw(st.sampled_from(sorted(self.lines)))
        line = self.lines[dataset]
        return dataset, line, data.draw(st.integers(1, len(line.versions)))

    @invariant()
    def heads_and_names_agree(self) -> None:
        if not hasattr(self, "repository"):
            return
        heads = {info.name: info.head for info in self.repository.datasets()}
        assert heads == {name: f"v{len(line.versions)}" for name, line in self.lines.items()}
        for dataset, line in self.lines.items():
            named = {(ref.kind, ref.name): ref.id for ref in self.repository.refs(dataset)}
            for kind, names in (("tag", line.tags), ("alias", line.aliases)):
                assert {name for of, name in named if of == kind} == set(names)
                for name, number in names.items():
                    assert named[kind, name] == self.repository.show(f"{dataset}@v{number}").id
            head = self.repository.version(dataset)
            assert {
                file.path: head.read(file.path) for file in head.files() if file.kind == "file"
            } == line.head


Model.TestCase.settings = settings(
    max_examples=max(8, settings.default.max_examples // 4) if settings.default else 12,
    stateful_step_count=settings.default.stateful_step_count if settings.default else 30,
    deadline=None,
)
TestRepository = Model.TestCase
