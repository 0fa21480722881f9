"""`dataver://REF/PATH`: the files of versions, read-only, for everything that speaks fsspec.

fsspec finds this module by its entry point; nobody needs to import dataver for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, Self

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem
from fsspec.utils import isfilelike, stringify_path, tokenize

from dataver.errors import BadInputError, NotPermittedError, PathNotFoundError
from dataver.files import Files, to_path
from dataver.paths import safe_spelling
from dataver.repository import Repository, open_repository
from dataver.tree.manifest import FOLDER, SYMLINK, Entry

if TYPE_CHECKING:
    from dataver.version import Version

Info = dict[str, Any]

COPY_BYTES = 4 << 20


class DataverFileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec ships no types
    """Versions as folders of files: `iris@v3/train/part-000.parquet`. Nothing can be written.

    `repo` is the URL of a repository, or one that is open; without it, the one that the command
    line would use. `storage_options` are those of the repository's own store, `at` a time or a log
    entry, as for `dataver.open`.

    A ref is looked up when it is first used and means that version for as long as this file system
    lives, also in files, pickles and forked processes. fsspec makes a new one for each `open` or
    `url_to_fs`, so that `iris@latest` is looked up again by the next. For use by several threads.

    A path begins with a ref that holds an `@` and ends before the first `/` after it. Above that
    are the datasets, each as `DATASET@latest`, in the folders that their names make. Symlinks are
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
        ref: str | None = None,
        pinned: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        """`ref` is the one of the URL, if any; `pinned` has the ids of versions by ref, as pickles do."""
        super().__init__(**options)
        self._repository = repo if isinstance(repo, Repository) else None
        self._place = None if repo is None or isinstance(repo, Repository) else _absolute(os.fspath(repo))
        self._store_options = dict(storage_options or {})
        self._at = at
        self._ref = ref
        self._pinned = dict(pinned or {})
        self._versions: dict[str, Version] = {}
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
        if self._ref is not None:
            self.version(self._ref)
        place = self._repository or self._place
        options = {"storage_options": self._store_options, "at": self._at, "pinned": dict(self._pinned)}
        return _make, (type(self), place, options)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, DataverFileSystem) and self._identity() == other._identity()
        )

    def __hash__(self) -> int:
        return hash(self._place)

    def __dask_tokenize__(self) -> str:
        token: str = tokenize(*map(str, self._identity()))
        return token

    def _identity(self) -> tuple[object, ...]:
        place = self._repository.url if self._repository is not None else self._place
        return type(self), place, self._at, sorted(self._pinned.items())

    @property
    def storage_options(self) -> Info:
        """The arguments that make such a file system, with what its refs mean: JSON, and no repository."""
        place = self._repository.url if self._repository is not None else self._place
        options = {"repo": place, "storage_options": self._store_options, "at": self._at}
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
        with self._here():
            if self._repository is None:
                self._repository = open_repository(
                    self._place, storage_options=self._store_options, at=self._at
                )
            return self._repository

    def version(self, ref: str) -> Version:
        """What a ref means here: the same version each time. `RefNotFoundError` where nothing."""
        version = self._versions.get(ref)
        if version is None:
            with self._here():
                version = self._versions.get(ref)
                if version is None:
                    id = self._pinned.get(ref)
                    exact = ref if id is None else f"{ref.partition('@')[0]}@{id}"
                    version = self._versions[ref] = self.repository.version(exact)
                    self._pinned[ref] = version.id
        return version

    def _here(self) -> threading.RLock:
        """The lock of this process; a forked one begins with its own, and opens the repository anew."""
        if self._process != os.getpid():
            self._lock = threading.RLock()
            self._process = os.getpid()
            if self._repository is not None:
                open_again, arguments = self._repository.__reduce__()
                self._repository = open_again(*arguments)
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
        ref = _split(DataverFileSystem._strip_protocol(path))[0]
        return {"ref": ref} if "@" in ref else {}

    def _locate(self, path: Any) -> tuple[str, Files, str]:
        """A path as (stripped path, the files of its version, path in the version)."""
        path = self._strip_protocol(path)
        ref, inner = _split(path)
        if "@" not in ref:
            raise PathNotFoundError(
                f"{safe_spelling(path)!r} names no version: a path is REF/PATH, and a REF in it has an '@', "
                "such as iris@v3/train/part-000.parquet"
            )
        return path, self.version(ref).tree_of_files(), inner

    def _find(self, path: Any) -> tuple[str, Files, Entry]:
        """A path as (stripped path, the files of its version, what it leads to)."""
        path, files, inner = self._locate(path)
        with _no_such_path():
            return path, files, files.follow(to_path(inner))

    def _file(self, path: Any) -> tuple[Version, str]:
        """The version and the path in it of what must be a file."""
        path = self._strip_protocol(path)
        if "@" not in _split(path)[0]:
            if self.isdir(path):
                raise IsADirectoryError(path)
            self._locate(path)
        path, _, entry = self._find(path)
        if entry.kind == FOLDER:
            raise IsADirectoryError(path)
        ref, inner = _split(path)
        return self.version(ref), inner

    # Looking

    def info(self, path: Any, **_: Any) -> Info:
        """`name`, `size`, `type`; of a file also `digest` (plain BLAKE3-256, 64 hex digits).

        Of a symlink what it leads to, with `islink` and `destination`; of one that leads to
        nothing in the version, `type` is "link".
        """
        path = self._strip_protocol(path)
        if "@" not in _split(path)[0]:
            if path and not self._datasets(path):
                self._locate(path)
            return _folder_info(path)
        path, files, inner = self._locate(path)
        with _no_such_path():
            entry = files.get(to_path(inner)) or files.follow(to_path(inner))
        return self._info(path, entry, files)

    def _info(self, name: str, entry: Entry, files: Files) -> Info:
        if entry.kind == FOLDER:
            return _folder_info(name)
        if entry.kind != SYMLINK:
            return {
                "name": name,
                "size": entry.size,
                "type": "file",
                "digest": entry.digest.hex(),
                "executable": entry.executable,
                "islink": False,
            }
        link = {"islink": True, "destination": files.link_target(entry).decode("utf-8", "replace")}
        try:
            found = files.follow(entry.path)
        except (PathNotFoundError, BadInputError):
            return {"name": name, "size": entry.size, "type": "link", **link}
        return {**self._info(name, found, files), **link}

    def ls(self, path: Any, detail: bool = True, **_: Any) -> list[Info] | list[str]:
        """What is in a folder, by name; of a file itself."""
        path = self._strip_protocol(path)
        if "@" not in _split(path)[0]:
            found = [_folder_info(name) for name in self._datasets(path)]
            if path and not found:
                self._locate(path)
        else:
            path, files, entry = self._find(path)
            if entry.kind != FOLDER:
                found = [self.info(path)]
            else:
                found = [
                    self._info(f"{path}/{_base(child.path)}", child, files)
                    for child in files.children(entry.path)
                ]
        found.sort(key=lambda info: str(info["name"]))
        return found if detail else [info["name"] for info in found]

    def _datasets(self, folder: str) -> list[str]:
        """What is in a folder of datasets."""
        prefix = folder + "/" if folder else ""
        with self._here():
            datasets = self.repository.datasets()
        names = set()
        for dataset in datasets:
            if dataset.name.startswith(prefix) and dataset.head is not None:
                name, slash, _ = dataset.name[len(prefix) :].partition("/")
                names.add(prefix + name if slash else f"{dataset.name}@latest")
        return sorted(names)

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
            found = [info for info in self.ls(path, detail=True) if isinstance(info, dict)]
        except OSError as error:
            if on_error == "raise":
                raise
            if callable(on_error):
                on_error(error)
            return
        infos = {"" if info["name"] == path else _base_name(info["name"]): info for info in found}
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
        if "@" in _split(path)[0]:
            self._locate(path)
            found = self._find_all(path, withdirs) if maxdepth is None else None
        else:
            found = None
        if found is None:
            found = self._find_walking(path, maxdepth, withdirs)
        return dict(sorted(found.items())) if detail else sorted(found)

    def _find_walking(self, path: str, maxdepth: int | None, withdirs: bool) -> dict[str, Info]:
        found: dict[str, Info] = {}
        if withdirs and path and self.isdir(path):
            found[path] = self.info(path)
        for _, folders, files in self.walk(path, maxdepth, detail=True):
            for info in (*files.values(), *(folders.values() if withdirs else ())):
                found[info["name"]] = info
        return found

    def _find_all(self, path: str, withdirs: bool) -> dict[str, Info]:
        """All that is below a path, in one pass over the manifest."""
        try:
            path, files, entry = self._find(path)
        except PathNotFoundError:
            return {}
        if entry.kind != FOLDER:
            return {path: self.info(path)}
        found: dict[str, Info] = {}
        prefix = entry.path + b"/" if entry.path else b""
        folder = path
        if withdirs:
            found[path] = _folder_info(path)
        for child in files.scan(prefix):
            name = f"{path}/{child.path[len(prefix) :].decode()}"
            info = self._info(name, child, files)
            if withdirs or info["type"] != "directory":
                found[name] = info
            above = name.rpartition("/")[0]
            if withdirs and above != folder:
                folder = above
                while above not in found:
                    found[above] = _folder_info(above)
                    above = above.rpartition("/")[0]
        return found

    def glob(self, path: Any, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """The paths that match a pattern. The ref itself cannot be one."""
        ref = _split(self._strip_protocol(path))[0]
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
        ref = _split(path)[0]
        info = self.info(path)
        if "digest" in info:
            return str(info["digest"])
        token: str = tokenize(self.version(ref).id if "@" in ref else self.repository.url, path)
        return token

    def modified(self, path: Any) -> datetime:
        """When the version was made: its files never changed since."""
        path = self._strip_protocol(path)
        self.info(path)
        return self._locate_version(path).time

    def created(self, path: Any) -> datetime:
        """When the version was made."""
        return self.modified(path)

    def _locate_version(self, path: str) -> Version:
        self._locate(path)
        return self.version(_split(path)[0])

    # Reading

    def _open(self, path: Any, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            self._refuse()
        version, inner = self._file(path)
        return version.open(inner)

    def cat_file(self, path: Any, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes of a file, or a slice of them by the rules of Python's slices."""
        version, inner = self._file(path)
        if start is None and end is None:
            return version.read(inner)
        first, last, _step = slice(start, end).indices(version.entry(inner).size)
        return version.read_ranges(inner, [(first, max(last - first, 0))])[0]

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
            except (OSError, ValueError) as error:
                if on_error != "return":
                    raise
                found = [error] * len(numbers)
            for number, data in zip(numbers, found, strict=True):
                out[number] = data
        return out

    def _slices(self, path: str, slices: list[slice]) -> list[bytes]:
        version, inner = self._file(path)
        size = version.entry(inner).size
        bounds = [part.indices(size)[:2] for part in slices]
        return version.read_ranges(inner, [(first, max(last - first, 0)) for first, last in bounds])

    def get_file(
        self, rpath: Any, lpath: Any, callback: Any = DEFAULT_CALLBACK, outfile: Any = None, **_: Any
    ) -> None:
        """Copy one file; a folder is made. What fails midway leaves no file behind."""
        if outfile is None and isfilelike(lpath):
            outfile = lpath
        if outfile is not None:
            self._copy(rpath, outfile, callback)
            return
        if self.isdir(rpath):
            os.makedirs(lpath, exist_ok=True)
            return
        with self.open(rpath) as source:
            os.makedirs(os.path.dirname(os.path.abspath(lpath)), exist_ok=True)
            try:
                with open(lpath, "wb") as target:
                    _copy_file(source, target, callback)
            except BaseException:
                with suppress(OSError):
                    os.unlink(lpath)
                raise

    def _copy(self, rpath: Any, target: Any, callback: Any) -> None:
        with self.open(rpath) as source:
            _copy_file(source, target, callback)

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


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(place)


def _split(path: str) -> tuple[str, str]:
    """A path as ref (with an `@`; without one, all of the path) and path in the version."""
    at = path.find("@")
    slash = path.find("/", at) if at >= 0 else -1
    return (path, "") if slash < 0 else (path[:slash], path[slash + 1 :])


def _base(path: bytes) -> str:
    return path.rpartition(b"/")[2].decode()


def _base_name(path: str) -> str:
    return path.rpartition("/")[2]


def _folder_info(name: str) -> Info:
    return {"name": name, "size": 0, "type": "directory", "islink": False}


def _check_depth(maxdepth: int | None) -> None:
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")


def _copy_file(source: Any, target: Any, callback: Any) -> None:
    callback.set_size(source.size)
    while data := source.read(COPY_BYTES):
        target.write(data)
        callback.relative_update(len(data))


@contextmanager
def _no_such_path() -> Iterator[None]:
    """A path that no version can hold, or a link that leads out of it, is one that is not there."""
    try:
        yield
    except BadInputError as error:
        raise PathNotFoundError(str(error)) from error
