"""Reading a git repository that nobody vouches for: its objects and names; nothing that it names is run.

Plumbing alone is called, with argument lists: no hook, filter, pager, file system monitor or text converter
of the repository runs, and nothing is fetched for what it lacks.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import IO, Self

from dataver.errors import BadInputError, DamagedError, EnvironmentFaultError, PathNotFoundError
from dataver.paths import safe_spelling
from dataver.values import NamedTuple, dataclass

__all__ = ["ABSENT", "Change", "Commit", "Git", "Item", "clone"]

FILE_MODES = ("100644", "100755", "100664")
SYMLINK_MODE = "120000"
NO_PROTOCOLS = "none"
CLONE_PROTOCOLS = "git:http:https:ssh"
_SAFE = (
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.useReplaceRefs=false",
    "-c", "core.quotePath=true", "-c", "core.commitGraph=false",
)  # fmt: skip
_DIFF = (
    "diff-tree", "-r", "-z", "--raw", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv",
    "--ignore-submodules=none",
)  # fmt: skip
# What an environment made by git, as that of a hook, would have us read instead.
_INHERITED = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS", "GIT_EXTERNAL_DIFF", "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
)  # fmt: skip
_TIME_S_MAX = 32_503_680_000  # The year 3000: later ones are made up.


class Item(NamedTuple):
    """What a path is in a commit: its mode as git writes it, and the id of its object."""

    mode: str
    id: str


ABSENT = Item("000000", "")


class Change(NamedTuple):
    """What a commit made of one path; `ABSENT` where it is not there before or after."""

    path: bytes
    before: Item
    after: Item


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit: who made it and when, by its author, and why."""

    id: str
    author: str
    time: datetime
    message: str


class Git:
    """A git repository on this machine. `close` it in the end. For several threads."""

    def __init__(self, folder: str) -> None:
        """`PathNotFoundError` where the folder is in no git repository."""
        self._folder = folder
        self._lock = threading.Lock()
        self._reader: subprocess.Popen[bytes] | None = None
        self.folder = os.fsdecode(self.run("rev-parse", "--absolute-git-dir")).rstrip("\n")
        common = os.fsdecode(self.run("rev-parse", "--git-common-dir")).rstrip("\n")
        self.common_folder = os.path.join(folder, common)
        inside = self.run("rev-parse", "--is-inside-work-tree").strip() == b"true"
        self.top = os.fsdecode(self.run("rev-parse", "--show-toplevel")).rstrip("\n") if inside else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reader is not None:
            assert self._reader.stdin is not None
            assert self._reader.stdout is not None
            self._reader.stdin.close()
            self._reader.stdout.close()
            self._reader.wait()
            self._reader = None

    def run(self, *arguments: str, given: bytes = b"") -> bytes:
        """What a command of git prints. `BadInputError` with its own words where it fails."""
        try:
            done = subprocess.run(
                [*_command(self._folder), *arguments],
                input=given, capture_output=True, check=False, env=_environment(NO_PROTOCOLS),
            )  # fmt: skip
        except FileNotFoundError:
            raise _no_git() from None
        if done.returncode:
            raise _failure(self._folder, done.stderr)
        return done.stdout

    def head(self) -> str | None:
        """The branch that is checked out; None where a commit is."""
        try:
            name = self.run("symbolic-ref", "-q", "HEAD").decode("utf-8", "replace").strip()
        except BadInputError:
            return None
        return name.removeprefix("refs/heads/")

    def setting(self, name: str) -> str:
        """A setting of git as a path, empty where it is not set."""
        try:
            return os.fsdecode(self.run("config", "--type=path", "--get", name)).rstrip("\n")
        except BadInputError:
            return ""

    def refs(self, prefix: str) -> dict[str, str]:
        """The commits that names below `refs/PREFIX/` mean, by the name; what means others is left out."""
        shape = "%(refname)%00%(objectname)%00%(objecttype)%00%(*objectname)%00%(*objecttype)"
        found = {}
        for line in self.run("for-each-ref", f"--format={shape}", f"refs/{prefix}").splitlines():
            name, id, kind, peeled, peeled_kind = line.decode("utf-8", "surrogateescape").split("\0")
            target = id if kind == "commit" else peeled if peeled_kind == "commit" else ""
            if target:
                found[name.removeprefix(f"refs/{prefix}/")] = target
        return found

    def line(self, revision: str) -> list[tuple[str, str]]:
        """The commits of a revision or range by first parents, oldest first, each with its first parent.

        The parent is empty where there is none, or where the history was copied in part.
        """
        if revision.startswith("-"):
            raise BadInputError(f"{revision[:100]!a} is no revision of git")
        lines = self.run(
            "rev-list", "--first-parent", "--reverse", "--parents", "--end-of-options", revision, "--"
        )
        return [(words[0], words[1] if len(words) > 1 else "") for words in map(_words, lines.splitlines())]

    def tree(self, commit: str, pathspecs: Sequence[str] = ()) -> dict[bytes, Item]:
        """The files of a commit by path: those that the pathspecs choose, all without any."""
        nothing = self.run("hash-object", "-t", "tree", "--stdin").decode().strip()
        rows = self.run(*_DIFF, nothing, commit, "--", *pathspecs).split(b"\0")
        return {change.path: change.after for change in map(_change, rows[:-1:2], rows[1::2])}

    def changes(
        self, commits: Sequence[tuple[str, str]], pathspecs: Sequence[str] = ()
    ) -> Iterator[tuple[str, list[Change]]]:
        """What each commit changed against its first parent, or against nothing. In the order given."""
        given = "".join(f"{commit} {parent}".rstrip() + "\n" for commit, parent in commits).encode()
        rows = self.run(*_DIFF, "--stdin", "--root", "--always", "--", *pathspecs, given=given).split(b"\0")
        commit, found = "", list[Change]()
        at = 0
        while at < len(rows) - 1:
            if not rows[at].startswith(b":"):
                if commit:
                    yield commit, found
                commit, found = rows[at].decode(), []
                at += 1
                continue
            found.append(_change(rows[at], rows[at + 1]))
            at += 2
        if commit:
            yield commit, found

    def commit(self, id: str) -> Commit:
        """A commit, as far as it can be read: what is no UTF-8 in it is replaced."""
        head, _, message = self.read(id, 16 << 20).partition(b"\n\n")
        author, time = "", datetime.fromtimestamp(0, UTC)
        for line in head.split(b"\n"):
            if line.startswith(b"author "):
                who, _, when = line.removeprefix(b"author ").rpartition(b"> ")
                author = (who + b">").decode("utf-8", "replace").replace(" <>", "").strip()
                time = _time(when)
        return Commit(id, author, time, message.decode("utf-8", "replace").strip())

    def sizes(self, ids: Sequence[str]) -> list[int]:
        """The sizes of objects in bytes; -1 for one that is not here."""
        given = "".join(f"{id}\n" for id in ids).encode()
        rows = self.run("cat-file", "--batch-check=%(objectsize)", given=given).splitlines()
        return [int(row) if row.isdigit() else -1 for row in rows]

    def read(self, id: str, size_max: int) -> bytes:
        """The bytes of an object. `BadInputError` where it is larger, `DamagedError` where it is absent."""
        with self._lock:
            reader = self._reader = self._reader or _start(self._folder, "cat-file", "--batch")
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write(f"{id}\n".encode())
            reader.stdin.flush()
            head = reader.stdout.readline().split()
            if len(head) != 3:
                raise DamagedError(f"git has no object {id}; `git fsck` in {shown(self._folder)} tells more")
            size = int(head[2])
            if size > size_max:
                _skip(reader.stdout, size + 1)
                raise BadInputError(f"object {id} of git has {size} bytes, more than is read of such a file")
            data = reader.stdout.read(size)
            reader.stdout.read(1)
        return data

    def copy(self, id: str, target: IO[bytes]) -> None:
        """Write the bytes of an object of any size to a file that has a descriptor."""
        done = subprocess.run(
            [*_command(self._folder), "cat-file", "blob", id],
            stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.PIPE, check=False,
            env=_environment(NO_PROTOCOLS),
        )  # fmt: skip
        if done.returncode:
            raise _failure(self._folder, done.stderr)


def clone(url: str, folder: str) -> None:
    """Copy the repository at a URL into a new folder, without a work tree. Credentials are git's own."""
    command = [
        "git", *_SAFE, "clone", "--quiet", "--bare", "--template=", "--", url, folder,
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False,
            env=_environment(CLONE_PROTOCOLS),
        )  # fmt: skip
    except FileNotFoundError:
        raise _no_git() from None
    if done.returncode:
        from dataver.store.clients import public_url
        from dataver.store.failures import redact

        raise PathNotFoundError(f"git cannot clone {public_url(url)}: {redact(_told(done.stderr))}")


def shown(folder: str) -> str:
    """A folder for a message."""
    return safe_spelling(folder)


def _command(folder: str) -> list[str]:
    return ["git", "-C", folder, *_SAFE]


def _environment(protocols: str) -> dict[str, str]:
    """No questions, no locks, no replaced objects; and no way to fetch what a partial clone lacks."""
    kept = {name: value for name, value in os.environ.items() if name not in _INHERITED}
    return {
        **kept,
        "GIT_ALLOW_PROTOCOL": protocols,
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }


def _start(folder: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*_command(folder), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=_environment(NO_PROTOCOLS),
    )  # fmt: skip


def _skip(stream: IO[bytes], size: int) -> None:
    while size > 0:
        size -= len(stream.read(min(size, 1 << 20)) or b"\0" * size)


def _words(line: bytes) -> list[str]:
    return line.decode().split(" ")


def _change(row: bytes, path: bytes) -> Change:
    """A change as `diff-tree --raw -z` writes it."""
    before, after, old, new, _ = row[1:].decode().split(" ")
    return Change(path, _item(before, old), _item(after, new))


def _item(mode: str, id: str) -> Item:
    return ABSENT if mode == ABSENT.mode else Item(mode, id)


def _time(when: bytes) -> datetime:
    """A moment as git writes it, seconds and a zone; what cannot be one is 1970."""
    seconds, _, zone = when.decode("ascii", "replace").partition(" ")
    try:
        offset = timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[3:5]))
        return datetime.fromtimestamp(min(int(seconds), _TIME_S_MAX), timezone(offset))
    except (ValueError, IndexError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _told(errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    fatal = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
    return safe_spelling((fatal or lines or ["git says nothing"])[0])


def _failure(folder: str, errors: bytes) -> BadInputError | PathNotFoundError:
    told = _told(errors)
    if "not a git repository" in told or "cannot change to" in told:
        return PathNotFoundError(f"{shown(folder)} is in no git repository")
    return BadInputError(f"git cannot read {shown(folder)}: {told}")


def _no_git() -> EnvironmentFaultError:
    return EnvironmentFaultError(
        "git is not installed, and reads the history of what is imported; install it"
    )
