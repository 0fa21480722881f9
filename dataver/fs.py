"""`dataver://REF/PATH`: the files of versions, read-only, for everything that speaks fsspec.

fsspec finds this module by its entry point; nobody needs to import dataver for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, Self

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem
from fsspec.utils import isfilelike, stringify_path, tokenize

from dataver.config import require_place
from dataver.errors import BadInputError, DataverError, NotPermittedError, PathNotFoundError
from dataver.folders import Folders, Info, has_ref, split
from dataver.opened import Opened, open_shared
from dataver.paths import safe_spelling
from dataver.repository import Repository

if TYPE_CHECKING:
    from dataver.version import Version


class DataverFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec ships no types
    """Versions as folders of files: `iris@v3/train/part-000.parquet`. Nothing can be written.

    `repo` is the URL of a repository, or one that is open; without it, the one that the command
    line would use. `storage_options` are those of the repository's own store; `at`, a time or a log
    entry, `offline` and `require_signed` are as for `dataver.open`.

    A ref is looked up when it is first used and means that version for as long as this file system
    lives, also in files, pickles and forked processes. fsspec makes a new one for each `open` or
    `url_to_fs`, so that `iris@latest` is looked up again by the next. For use by several threads.

    A path is `REF/PATH`, and the ref in it has an `@`; above are folders of datasets. Symlinks are
    followed within the version; a recursive listing names those that lead to folders, and does not
    go into them. What is not there is a `FileNotFoundError`.
    """

    protocol = "dataver"
    # An instance that fsspec finds again by its arguments would show an old `latest` for ever.
    cachable = False

    def __init__(
        self,
        repo: str | os.PathLike[str] | Repository | None = None,
        *,
        storage_options: Mapping[str, Any] | None = None,
        at: str | None = None,
        require_signed: bool = False,
        offline: bool = False,
        ref: str | None = None,
        pinned: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        """`ref` is the one of the URL, if any; `pinned` has the ids of versions by ref, as pickles do."""
        super().__init__(**options)
        self._opened = Opened(repo) if isinstance(repo, Repository) else None
        self._place = None if repo is None or isinstance(repo, Repository) else _absolute(repo)
        self._store_options = dict(storage_options or {})
        self._at = at
        self._require_signed = require_signed
        self._offline = offline
        self._ref = ref
        self._pinned = dict(pinned or {})
        self._versions: dict[str, Version] = {}
        self._folders = Folders(self.version, lambda: self._open_repository().datasets())
        self._lock = threading.RLock()
        self._process = os.getpid()

    @classmethod
    def of(cls, version: Version) -> Self:
        """A file system over a version's repository that has the version open already."""
        system = cls(version.repository)
        ref = f"{version.dataset_name}@{version.id}"
        system._pinned[ref] = version.id
        system._versions[ref] = version
        return system

    # What it is

    def __reduce__(self) -> tuple[Any, ...]:
        self._pin()
        place = self._place if self._opened is None else self._opened.repository
        options: Info = {"storage_options": self._store_options, "pinned": dict(self._pinned)}
        return _make, (type(self), place, options | self._how())

    def _how(self) -> Info:
        """How repositories are opened."""
        return {"at": self._at, "offline": self._offline, "require_signed": self._require_signed}

    def to_dict(self, *, include_password: bool = True) -> Info:
        """What fsspec makes it from again; as a pickle, it carries what refs mean."""
        self._pin()
        document: Info = super().to_dict(include_password=include_password)
        return document

    def _pin(self) -> None:
        if self._ref is not None:
            self.version(self._ref)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, DataverFileSystem) and self._identity() == other._identity()
        )

    def __hash__(self) -> int:
        return hash(type(self))  # All else may change with what is looked up.

    def __dask_tokenize__(self) -> str:
        token: str = tokenize(*map(str, self._identity()))
        return token

    def _identity(self) -> tuple[object, ...]:
        return type(self), self._url(), self._at, self._require_signed, sorted(self._pinned.items())

    def _url(self) -> str | None:
        return self._place if self._opened is None else self._opened.repository.url

    @property
    def storage_options(self) -> Info:
        """The arguments that make such a file system, with what its refs mean: JSON, and no repository."""
        options: Info = {"repo": self._url(), "storage_options": self._store_options, **self._how()}
        return {name: value for name, value in options.items() if value} | {"pinned": dict(self._pinned)}

    @storage_options.setter
    def storage_options(self, value: Info) -> None:
        """fsspec sets what it was called with, which `__init__` has seen."""

    @property
    def fsid(self) -> str:
        """Equal for file systems over one repository."""
        return f"dataver-{self.repository.id}"

    @property
    def repository(self) -> Repository:
        """The repository, opened at the first use."""
        return self._open_repository().repository

    def version(self, ref: str) -> Version:
        """What a ref means here: the same version each time. `RefNotFoundError` where nothing."""
        version = self._versions.get(ref)
        if version is None:
            with self._here():
                version = self._versions.get(ref)
                if version is None:
                    id = self._pinned.get(ref)
                    exact = ref if id is None else f"{ref.partition('@')[0]}@{id}"
                    version = self._versions[ref] = self._open_repository().version(
                        exact, require_signed=self._require_signed
                    )
                    self._pinned[ref] = version.id
        return version

    def _open_repository(self) -> Opened:
        with self._here():
            if self._opened is None:
                self._opened = open_shared(self._place, self._store_options, self._at, self._offline)
            return self._opened

    def _here(self) -> threading.RLock:
        """The lock of this process; a forked one begins with its own, and opens the repository anew."""
        if self._process != os.getpid():
            self._lock = threading.RLock()
            self._process = os.getpid()
            if self._opened is not None:
                open_again, arguments = self._opened.repository.__reduce__()
                self._opened = Opened(open_again(*arguments))
        return self._lock

    # Paths

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(part) for part in path]
        text = stringify_path(path)
        for start in ("dataver://", "dataver::"):
            text = text.removeprefix(start)
        return text.strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: Any) -> Info:
        ref = split(DataverFileSystem._strip_protocol(path))[0]
        return {"ref": ref} if has_ref(ref) else {}

    # Looking

    def info(self, path: Any, **_: Any) -> Info:
        """`name`, `size`, `type`; of a file also `digest` (plain BLAKE3-256, 64 hex digits).

        Of a symlink what it leads to, with `islink` and `destination`; of one that leads to
        nothing in the version, `type` is "link".
        """
        return self._folders.info(self._strip_protocol(path))

    def ls(self, path: Any, detail: bool = True, **_: Any) -> list[Info] | list[str]:
        """What is in a folder, by name; of a file itself."""
        found = self._folders.children(self._strip_protocol(path))
        return found if detail else [info["name"] for info in found]

    def walk(
        self,
        path: Any,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: str | Callable[[OSError], object] = "omit",
        **kwargs: Any,
    ) -> Iterator[tuple[str, Any, Any]]:
        """As `os.walk`: (folder, names of folders, names of files); symlinks to folders are not entered."""
        _check_depth(maxdepth)
        path = self._strip_protocol(path)
        detail = kwargs.get("detail", False)
        try:
            found = self._folders.children(path)
        except OSError as error:
            if on_error == "raise":
                raise
            if callable(on_error):
                on_error(error)
            return
        infos = {"" if info["name"] == path else info["name"].rpartition("/")[2]: info for info in found}
        folders: Any = {name: info for name, info in infos.items() if info["type"] == "directory"}
        files: Any = {name: info for name, info in infos.items() if info["type"] != "directory"}
        here = (path, folders, files) if detail else (path, list(folders), list(files))
        if topdown:
            yield here
        if maxdepth is None or maxdepth > 1:
            deeper = None if maxdepth is None else maxdepth - 1
            for name in list(here[1]):
                info = infos.get(name)
                if info is not None and not info.get("islink"):
                    yield from self.walk(info["name"], deeper, topdown, on_error, detail=detail)
        if not topdown:
            yield here

    def find(
        self,
        path: Any,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **_: Any,
    ) -> list[str] | dict[str, Info]:
        """The files below a path, by name; `[]` where there is nothing, but an unknown ref raises."""
        _check_depth(maxdepth)
        path = self._strip_protocol(path)
        found: dict[str, Info] = {}
        if has_ref(path):
            self._folders.version_of(path)
        if has_ref(path) and maxdepth is None:
            with suppress(PathNotFoundError):
                found = self._folders.below(path, withdirs)
        else:
            if withdirs and path and self.isdir(path):
                found[path] = self.info(path)
            for _folder, folders, files in self.walk(path, maxdepth, detail=True):
                infos = (*files.values(), *folders.values()) if withdirs else files.values()
                found.update((info["name"], info) for info in infos)
        return dict(sorted(found.items())) if detail else sorted(found)

    def glob(self, path: Any, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """The paths that match a pattern. The ref itself cannot be one."""
        ref = split(self._strip_protocol(path))[0]
        if "@" in ref and any(sign in ref for sign in "*?["):
            raise BadInputError(f"{safe_spelling(ref)!r} is not a ref; a pattern begins after it")
        return super().glob(path, maxdepth=maxdepth, **kwargs)

    def exists(self, path: Any, **_: Any) -> bool:
        """Whether there is anything at a path. Damage and a failing store raise."""
        try:
            self.info(path)
        except (FileNotFoundError, BadInputError):
            return False
        return True

    def isdir(self, path: Any) -> bool:
        """Whether a path leads to a folder. Damage and a failing store raise."""
        return self._is(path, "directory")

    def isfile(self, path: Any) -> bool:
        """Whether a path leads to a file. Damage and a failing store raise."""
        return self._is(path, "file")

    def _is(self, path: Any, kind: str) -> bool:
        try:
            return bool(self.info(path)["type"] == kind)
        except (FileNotFoundError, BadInputError):
            return False

    def lexists(self, path: Any, **_: Any) -> bool:
        """Whether there is anything at a path, be it a symlink that leads to nothing."""
        return self.exists(path)

    def checksum(self, path: Any) -> int:
        """A number that changes only with the contents."""
        return int(self.ukey(path), 16)

    def ukey(self, path: Any) -> str:
        """Hex digits that change only with the contents: a file's digest, or one over a folder's path."""
        path = self._strip_protocol(path)
        info = self.info(path)
        if "digest" in info:
            return str(info["digest"])
        ref, inner = split(path)
        what = self.version(ref).id if has_ref(ref) else self.ls(path, detail=False)
        token: str = tokenize(what, inner)
        return token

    def modified(self, path: Any) -> datetime:
        """When the version was made: its files never changed since."""
        path = self._strip_protocol(path)
        self.info(path)
        return self._folders.version_of(path).time

    def created(self, path: Any) -> datetime:
        """When the version was made."""
        return self.modified(path)

    # Reading

    def _open(self, path: Any, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            self._refuse()
        version, inner, entry = self._folders.file(self._strip_protocol(path))
        return version.open_entry(entry, inner)

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:
        """The bytes of a file; of several, or of all below a folder if `recursive`, a `dict` by path."""
        if not recursive:
            return super().cat(path, on_error=on_error, **kwargs)
        paths = [found for found in self.expand_path(path, recursive=True) if not self.isdir(found)]
        contents = dict(zip(paths, self.cat_ranges(paths, None, None), strict=True))
        failed = [name for name, data in contents.items() if isinstance(data, Exception)]
        if failed and on_error == "raise":
            raise contents[failed[0]]
        return {n: data for n, data in contents.items() if on_error == "return" or n not in failed}

    def cat_file(self, path: Any, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes of a file, or a slice of them by the rules of Python's slices."""
        return self._slices(self._strip_protocol(path), [slice(start, end)])[0]

    def cat_ranges(
        self,
        paths: list[Any],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,  # noqa: ARG002 - what lies near is read together in any case
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Slices of files, in order; where `on_error` is "return", errors stand in their places."""
        if not isinstance(paths, list):
            raise TypeError("paths must be a list")
        starts_list = list(starts) if isinstance(starts, Sequence) else [starts] * len(paths)
        ends_list = list(ends) if isinstance(ends, Sequence) else [ends] * len(paths)
        if not len(paths) == len(starts_list) == len(ends_list):
            raise ValueError("paths, starts and ends must have one length")
        wanted: dict[Any, list[int]] = {}
        for number, path in enumerate(paths):
            wanted.setdefault(self._strip_protocol(path), []).append(number)
        out: list[Any] = [None] * len(paths)
        for path, numbers in wanted.items():
            try:
                slices = [slice(starts_list[number], ends_list[number]) for number in numbers]
                found: list[Any] = self._slices(path, slices)
            except (OSError, ValueError, DataverError) as error:
                if on_error != "return":
                    raise
                found = [error] * len(numbers)
            for number, data in zip(numbers, found, strict=True):
                out[number] = data
        return out

    def _slices(self, path: str, slices: list[slice]) -> list[bytes]:
        version, _, entry = self._folders.file(path)
        if slices == [slice(None)]:
            return [version.read_entry(entry)]
        bounds = [part.indices(entry.size)[:2] for part in slices]
        return version.read_ranges_of(entry, [(first, max(last - first, 0)) for first, last in bounds])

    def get_file(
        self, rpath: Any, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **_: Any
    ) -> None:
        """Copy one file; a folder is made. What fails midway leaves no file behind."""
        if outfile is None and isfilelike(lpath):
            outfile = lpath
        if outfile is None and self.isdir(rpath):
            os.makedirs(lpath, exist_ok=True)
            return
        version, inner, entry = self._folders.file(self._strip_protocol(rpath))
        callback.set_size(entry.size)
        if outfile is not None:
            version.copy(inner, outfile, callback.relative_update)
            return
        os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
        try:
            with open(lpath, "wb") as target:
                version.copy(inner, target, callback.relative_update)
        except BaseException:
            with suppress(OSError):
                os.unlink(lpath)
            raise

    # Writing

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotPermittedError(
            "versions never change: dataver:// is for reading. `dataver commit` makes a new version"
        )

    mkdir = makedirs = makedir = mkdirs = rmdir = touch = _refuse
    pipe = pipe_file = write_text = write_bytes = put = put_file = upload = _refuse
    cp_file = copy = cp = mv = move = rename = rm = rm_file = _rm = delete = _refuse
    start_transaction = _refuse


def _make(cls: type[DataverFileSystem], place: Any, options: Info) -> DataverFileSystem:
    return cls(place, **options)


def _absolute(repo: str | os.PathLike[str]) -> str:
    require_place(repo, "repository's place")
    place = os.fspath(repo)
    return place if "://" in place else os.path.abspath(place)


def _check_depth(maxdepth: int | None) -> None:
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")
