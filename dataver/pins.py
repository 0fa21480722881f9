"""`dataver.lock`: which version each name means in a project, and reading through it.

The file is TOML, sorted, one table a pin, so that git shows and merges changes pin by pin:

    format = 1

    [repository]
    id = "32 hex digits"
    url = ".dataver"

    [pins."iris@prod"]
    version = "v3"
    id = "64 hex digits"
    tree = "64 hex digits"

A pin holds wherever its version is: ids and trees are digests, the repository's id and URL only say
where the version came from. `url` is relative to the file's folder where the repository lies in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from dataver.digest import Digest
from dataver.errors import BadInputError, LockMismatchError, RefNotFoundError
from dataver.format.operations import TAG
from dataver.format.version import VersionRecord
from dataver.log.state import State
from dataver.refs import LATEST, MAIN, Ref, Resolved, is_exact, live_ref, parse_ref, resolve
from dataver.values import dataclass

LOCK_NAME = "dataver.lock"
FORMAT = 1
LOCK_BYTES_MAX = 16 << 20

_ID = r"[0-9a-f]{64}"
_REPOSITORY_ID = r"[0-9a-f]{32}"
_NUMBER = r"v[1-9][0-9]{0,17}"
_PLAIN = r"[A-Za-z0-9_-]+"
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}

Record = Callable[[Digest], VersionRecord]


@dataclass(frozen=True, slots=True)
class Pin:
    """What a name means: a version by id and by the digest of its files. `version` is None off `main`."""

    ref: str
    version: str | None
    id: str
    tree: str


@dataclass(frozen=True, slots=True)
class Lock:
    """The pins of one file by their names as written, and the repository that they were taken from."""

    path: str
    repository: str = ""
    url: str = ""
    pins: Mapping[str, Pin] = field(default_factory=dict)

    def find(self, ref: Ref) -> Pin | None:
        """The pin of a ref, however either is written: `iris` is `iris@latest` is `iris@main`."""
        wanted = same(ref)
        return next((pin for pin in self.pins.values() if same(parse_ref(pin.ref)) == wanted), None)


def same(ref: Ref) -> Ref:
    """The one spelling of refs that mean the same."""
    return Ref(ref.dataset, MAIN if ref.selector == LATEST else ref.selector, ref.back)


# Where it is


def lock_path(start: str | None = None) -> str | None:
    """The lock file that is used: `DATAVER_LOCK`, else the nearest above `start`, the current folder.

    None where there is none, or where `DATAVER_LOCK` is empty, which turns it off. One that
    `DATAVER_LOCK` names need not exist.
    """
    named = os.environ.get("DATAVER_LOCK")
    if named is not None:
        return os.path.abspath(os.path.expanduser(named)) if named else None
    try:
        folder = os.path.abspath(os.getcwd() if start is None else start)
    except FileNotFoundError:  # The current folder was deleted; nothing is above it.
        return None
    while True:
        candidate = os.path.join(folder, LOCK_NAME)
        if os.path.isfile(candidate):
            return candidate
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def frozen() -> bool:
    """Whether `DATAVER_FROZEN` forbids refs whose meaning may change."""
    return os.environ.get("DATAVER_FROZEN", "").lower() not in ("", "0", "false", "no", "off")


def current_lock() -> Lock | None:
    """The lock file that is used, read; None where there is none."""
    path = lock_path()
    return None if path is None else read_lock(path)


# Reading and writing it


def read_lock(path: str) -> Lock:
    """Read a lock file. `BadInputError` names the file and the line that is wrong."""
    try:
        with open(path, "rb") as file:
            data = file.read(LOCK_BYTES_MAX + 1)
    except FileNotFoundError:
        raise RefNotFoundError(f"there is no lock file {path}; `dataver lock add REF` makes it") from None
    except OSError as error:
        raise BadInputError(f"the lock file {path} cannot be read: {error.strerror}") from error
    if len(data) > LOCK_BYTES_MAX:
        raise BadInputError(f"the lock file {path} has more than {LOCK_BYTES_MAX >> 20} MiB")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInputError(f"the lock file {path} is malformed at line {line}: no UTF-8") from error
    return _Reader(path, text).lock()


class _Reader:
    """One reading of one text, which knows where things stand in it."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._text = text

    def lock(self) -> Lock:
        import tomllib

        try:
            document = tomllib.loads(self._text)
        except ValueError as error:  # Also for numbers of thousands of digits.
            raise BadInputError(
                f"the lock file {self._path} is malformed: {error}; mend it, or restore it from git"
            ) from error
        except RecursionError:
            raise self._bad("it is nested too deep") from None
        if not isinstance(document.get("format"), int):
            raise self._bad('"format" is missing or no number', "format")
        if document["format"] != FORMAT:
            raise self._bad(f"its format is {document['format']}; this release knows {FORMAT}", "format")
        repository = document.get("repository", {})
        if not isinstance(repository, dict):
            raise self._bad("it must be a table", "repository")
        self._check(repository.get("id"), _REPOSITORY_ID, "32 hex digits", "repository", "id")
        if not isinstance(repository.get("url"), str):
            raise self._bad('"url" is missing or no text', "repository", "url")
        return Lock(self._path, repository["id"], repository["url"], self._pins(document.get("pins", {})))

    def _pins(self, table: Any) -> dict[str, Pin]:
        if not isinstance(table, dict):
            raise self._bad("it must be a table", "pins")
        pins: dict[str, Pin] = {}
        seen: dict[Ref, str] = {}
        for name, value in table.items():
            try:
                ref = same(parse_ref(name))
            except BadInputError as error:
                raise self._bad(str(error), name) from error
            if ref in seen:
                raise self._bad(f"{name!r} and {seen[ref]!r} are the same", name)
            seen[ref] = name
            if not isinstance(value, dict):
                raise self._bad("a pin must be a table", name)
            if "version" in value:
                self._check(value["version"], _NUMBER, '"vN"', name, "version")
            self._check(value.get("id"), _ID, "64 hex digits", name, "id")
            self._check(value.get("tree"), _ID, "64 hex digits", name, "tree")
            pins[name] = Pin(name, value.get("version"), value["id"], value["tree"])
        return pins

    def _check(self, value: object, form: str, expected: str, table: str, key: str) -> None:
        if not isinstance(value, str) or not re.fullmatch(form, value):
            raise self._bad(f'"{key}" must be {expected}', table, key)

    def _bad(self, problem: str, *where: str) -> BadInputError:
        """The error, with the line on which the last part of `where` that is found stands."""
        lines = self._text.split("\n")
        at = 0
        for part in where:
            # As a word of its own, so that `iris` is not found in `iris-2`.
            word = re.compile(rf"(?<![\w./@~-]){re.escape(part)}(?![\w./@~-])|\.{re.escape(part)}(?=\])")
            at = next((n for n in range(at, len(lines)) if word.search(lines[n])), at)
        return BadInputError(
            f"the lock file {self._path} is malformed at line {at + 1}: {problem}; mend it, or restore it "
            "from git"
        )


def lock_text(lock: Lock) -> str:
    """The file, byte for byte a function of what it says."""
    parts = [
        "# Which version each name means here. Made by `dataver lock`; belongs into git.",
        f"format = {FORMAT}",
        "",
        "[repository]",
        f"id = {quoted(lock.repository)}",
        f"url = {quoted(lock.url)}",
    ]
    for name, pin in sorted(lock.pins.items()):
        parts += ["", f"[pins.{name if re.fullmatch(_PLAIN, name) else quoted(name)}]"]
        if pin.version is not None:
            parts.append(f"version = {quoted(pin.version)}")
        parts += [f"id = {quoted(pin.id)}", f"tree = {quoted(pin.tree)}"]
    return "\n".join(parts) + "\n"


def quoted(text: str) -> str:
    """A text as a basic string of TOML. What Unicode has no character for becomes `?`."""
    text = text.encode("utf-8", "replace").decode()
    return '"' + "".join(_ESCAPES.get(sign) or _escaped(sign) for sign in text) + '"'


def _escaped(sign: str) -> str:
    return f"\\u{ord(sign):04x}" if sign < " " or sign == "\x7f" else sign


# Reading through it


def resolve_pinned(state: State, ref: Ref, record: Record, lock: Lock | None) -> Resolved:
    """What a ref means to a reader: a pinned one what the lock says, any other what the state says.

    A pin that the repository does not have as it is pinned is a `LockMismatchError`. Where
    `DATAVER_FROZEN` says so, a floating ref without a pin is a `BadInputError`. `iris@main~2` goes
    back from the pin of `iris@main` where it has none itself.
    """
    if lock is not None:
        pin = lock.find(ref)
        if pin is not None:
            return pinned(state, pin, record, lock)
        pin = lock.find(Ref(ref.dataset, ref.selector))
        if pin is not None and not is_fixed(state, ref):
            pinned(state, pin, record, lock)
            return resolve(state, Ref(ref.dataset, pin.id, ref.back), record)
    found = resolve(state, ref, record)
    if frozen() and not is_fixed(state, ref):
        raise BadInputError(
            f"{ref} may mean another version tomorrow, which DATAVER_FROZEN forbids: pin it with "
            f"`dataver lock add {ref}`, or name {found.canonical}"
        )
    return found


def is_fixed(state: State, ref: Ref) -> bool:
    """Whether a ref always means the same version: it names a number, an id or a tag."""
    if is_exact(ref):
        return True
    dataset = state.dataset(ref.dataset)
    named = None if dataset is None else live_ref(state, dataset, ref.selector)
    return named is not None and named.kind == TAG


def pinned(state: State, pin: Pin, record: Record, lock: Lock) -> Resolved:
    """The version of a pin, compared with what is here. `LockMismatchError` where they differ."""
    ref = parse_ref(pin.ref)
    try:
        found = resolve(state, ref if is_fixed(state, ref) else Ref(ref.dataset, pin.id), record)
    except RefNotFoundError as error:
        raise _mismatch(lock, pin, f"which is not here: {error}") from error
    if str(found.version.id) != pin.id:
        raise _mismatch(lock, pin, f"and here it is {found.version.id}")
    tree = str(record(found.version.id).tree)
    if tree != pin.tree:
        raise _mismatch(lock, pin, f"with the tree {pin.tree}, and here its tree is {tree}")
    return found


def _mismatch(lock: Lock, pin: Pin, problem: str) -> LockMismatchError:
    return LockMismatchError(
        f"{lock.path} pins {pin.ref} to {pin.version or ''}{' ' if pin.version else ''}{pin.id}, {problem}. "
        f"The pin was taken from repository {lock.repository} ({lock.url}); open that one, or accept what is "
        f"here with `dataver lock update {pin.ref}`"
    )
