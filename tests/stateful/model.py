"""What a repository should do, as dictionaries: datasets, versions, names, and what folders are based on.

Files alone, and paths of which none is a folder of another: how files and folders take each other's
place is tested where trees meet. Each method does what the engine should, or raises what it should.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from dataver.errors import AlreadyExistsError, BadInputError, ConflictError, RefNotFoundError

Files = dict[str, bytes]
MAIN = "main"


class Version(NamedTuple):
    """A version as the model has it: `order` counts the log entries that added versions."""

    files: Files
    parents: tuple[str, ...]
    order: int


class Basis(NamedTuple):
    """What a folder's changes are measured against: a version's id, and the files as the folder had them."""

    version: str | None
    files: Files


class Made(NamedTuple):
    """What a commit, merge or revert should do. `parents` and `files` are those of the version made."""

    created: bool
    parents: tuple[str, ...]
    files: Files
    rebased_onto: str | None = None


@dataclass
class Dataset:
    """One history."""

    versions: dict[str, Version] = field(default_factory=dict)
    numbered: list[str] = field(default_factory=list)
    refs: dict[str, tuple[str, str]] = field(default_factory=dict)
    gone_tags: dict[str, str] = field(default_factory=dict)
    bases: dict[tuple[str, str], Basis] = field(default_factory=dict)

    def head(self, branch: str) -> str | None:
        """The id that a branch is at. `AlreadyExistsError` where the name is another thing's."""
        kind, id = self.refs.get(branch, ("branch", None))
        if kind != "branch":
            raise AlreadyExistsError(branch)
        return id

    def resolve(self, selector: str) -> str:
        """The id that a selector means, `~` steps back along first parents."""
        name, *back = selector.split("~")
        if name.startswith("v") and name[1:].isdigit():
            if int(name[1:]) > len(self.numbered):
                raise RefNotFoundError(name)
            id = self.numbered[int(name[1:]) - 1]
        elif name in self.versions:
            id = name
        else:
            name = MAIN if name == "latest" else name
            if name not in self.refs:
                raise RefNotFoundError(name)
            id = self.refs[name][1]
        for _ in back:
            if not self.versions[id].parents:
                raise RefNotFoundError(selector)
            id = self.versions[id].parents[0]
        return id

    def ancestors(self, id: str) -> set[str]:
        """A version and all it descends from."""
        found, waiting = {id}, [id]
        while waiting:
            for parent in self.versions[waiting.pop()].parents:
                if parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        return found

    def log(self, id: str) -> list[str]:
        """Ids from a version back, the last recorded first."""
        return sorted(self.ancestors(id), key=lambda each: -self.versions[each].order)

    def check_name(self, kind: str, name: str, target: str) -> bool:
        """Whether the name is at `target` already; `AlreadyExistsError` where it may not come there."""
        if name in self.refs:
            there, id = self.refs[name]
            if there != kind or (kind != "alias" and id != target):
                raise AlreadyExistsError(name)
            return id == target
        if name in self.gone_tags and (kind != "tag" or self.gone_tags[name] != target):
            raise AlreadyExistsError(name)
        return False

    def basis(self, folder: str, into: str, branch: str, *, add: bool) -> Basis:
        """What a folder's changes are measured against."""
        if not add and (folder, into) in self.bases:
            return self.bases[folder, into]
        for name in (branch, MAIN):
            kind, id = self.refs.get(name, ("", ""))
            if kind == "branch" or (kind and name == branch):
                return Basis(id, self.versions[id].files)
        return Basis(None, {})

    def commit(
        self,
        folder: str,
        files: Files,
        branch: str,
        *,
        add: bool = False,
        into: str = "",
        tag: str | None = None,
    ) -> Made:
        """What committing `files` does to the branch; `record` and `remember` make it so."""
        basis = self.basis(folder, into, branch, add=add)
        below = f"{into}/" if into else ""
        edits: dict[str, bytes | None] = {below + path: data for path, data in files.items()}
        if not add:
            edits.update({p: None for p in basis.files if p.startswith(below) and p not in edits})
        edits = changes(basis.files, edits)
        if tag is not None and tag in self.refs:
            taken, id = self.refs[tag]
            if taken != "tag" or self.refs.get(branch, ("", ""))[1] != id:
                raise AlreadyExistsError(tag)
        head = self.head(branch)
        if head is None:
            if branch in self.gone_tags:
                raise AlreadyExistsError(branch)
            made = self._made(basis.version, applied(basis.files, edits), None)
        else:
            made = self._on_top(head, basis, edits)
        self._check_tag(tag, made, head or basis.version)
        return made

    def _check_tag(self, tag: str | None, made: Made, head: str | None) -> None:
        if tag is not None and (made.created or head is not None):
            self.check_name("tag", tag, "a version to come" if made.created else str(head))

    def _on_top(self, head: str, basis: Basis, edits: dict[str, bytes | None]) -> Made:
        files = self.versions[head].files
        if basis == Basis(head, files):
            return self._made(head, applied(files, edits), None)
        theirs = changes(basis.files, {p: files.get(p) for p in {*basis.files, *files}})
        if any(path in theirs and theirs[path] != data for path, data in edits.items()):
            raise ConflictError(str(sorted(theirs)))
        return self._made(head, applied(files, edits), head)

    def _made(self, head: str | None, files: Files, onto: str | None) -> Made:
        before = self.versions[head].files if head is not None else {}
        parents = () if head is None else (head,)
        return Made(files != before, parents, files, onto if files != before else None)

    def record(self, id: str, made: Made, branch: str) -> None:
        """A version was made on a branch."""
        self.versions[id] = Version(made.files, made.parents, len(self.versions))
        self.refs[branch] = ("branch", id)
        if branch == MAIN:
            self.numbered.append(id)

    def remember(self, folder: str, into: str, branch: str, files: Files, made: Made, id: str | None) -> None:
        """What the folder's next changes are measured against, after a commit without `add`."""
        basis = self.basis(folder, into, branch, add=False)
        if id is None:
            known: Basis | None = basis
        elif made.rebased_onto is None:
            known = Basis(id, made.files)
        else:
            onto = self.versions[made.rebased_onto].files
            known = Basis(basis.version, applied(basis.files, changes(onto, difference(onto, made.files))))
        if known is not None and (known.version is not None or id is not None):
            self.bases[folder, into] = known

    def merge(self, theirs: str, branch: str) -> Made | None:
        """What merging a version does; None where the branch has it already."""
        kind, head = self.refs.get(branch, ("", ""))
        if kind != "branch":
            raise RefNotFoundError(branch)
        common = self.ancestors(head) & self.ancestors(theirs)
        base = max(common, key=lambda id: self.versions[id].order, default=None)
        if base == theirs:
            return None
        files = self.versions[base].files if base is not None else {}
        edits = changes(files, difference(files, self.versions[theirs].files))
        made = self._on_top(head, Basis(base, files), edits)
        return Made(True, (head, theirs), made.files, None)

    def revert(self, target: str, branch: str) -> Made:
        """What a new version with the files of an old one is."""
        kind, head = self.refs.get(branch, ("", ""))
        if kind != "branch":
            raise RefNotFoundError(branch)
        return self._made(head, self.versions[target].files, None)

    def delete(self, kind: str, name: str) -> None:
        """Delete a name."""
        if self.refs.get(name, ("", ""))[0] != kind:
            raise RefNotFoundError(name)
        if name == MAIN:
            raise BadInputError(name)
        _, id = self.refs.pop(name)
        if kind == "tag":
            self.gone_tags[name] = id


def difference(old: Files, new: Files) -> dict[str, bytes | None]:
    """What turns `old` into `new`."""
    return {path: new.get(path) for path in {*old, *new} if old.get(path) != new.get(path)}


def changes(files: Files, edits: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """The edits that change anything."""
    return {path: data for path, data in edits.items() if files.get(path) != data}


def applied(files: Files, edits: dict[str, bytes | None]) -> Files:
    """Files with edits made."""
    return {path: data for path, data in {**files, **edits}.items() if data is not None}
