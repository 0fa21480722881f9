"""Paths of `dataver://` and what they lead to: datasets, versions, and the files in them.

A path is `REF/PATH`; the ref holds an `@` and ends before the first `/` after it. What has none is
a folder of datasets: `""`, or what comes before a `/` in names of datasets. Each dataset is in its
folder as `DATASET@latest`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, PathNotFoundError
from dataver.files import Files, to_path
from dataver.paths import safe_spelling
from dataver.tree.manifest import FOLDER, SYMLINK, Entry

if TYPE_CHECKING:
    from dataver.results import DatasetInfo
    from dataver.version import Version

Info = dict[str, Any]
"""What fsspec wants to know: `name`, `size` in bytes, `type`. More of ours, see `Folders.info`."""


def split(path: str) -> tuple[str, str]:
    """A path as (ref, path in the version); without a ref, as (path, "")."""
    at = path.find("@")
    slash = path.find("/", at) if at >= 0 else -1
    return (path, "") if slash < 0 else (path[:slash], path[slash + 1 :])


def has_ref(path: str) -> bool:
    """Whether a path leads into a version, and not to a folder of datasets."""
    return "@" in path


class Folders:
    """Looks paths up. `version` gives what a ref means, `datasets` those there are.

    Paths have no slash at either end. What is not there, or cannot be, is a `PathNotFoundError`.
    """

    def __init__(
        self, version: Callable[[str], Version], datasets: Callable[[], Sequence[DatasetInfo]]
    ) -> None:
        self._version = version
        self._datasets = datasets

    def version_of(self, path: str) -> Version:
        """The version that a path leads into."""
        if not has_ref(path):
            raise PathNotFoundError(
                f"{safe_spelling(path)!r} names no version: a path is REF/PATH, and a REF in it has an '@', "
                "such as iris@v3/train/part-000.parquet"
            )
        return self._version(split(path)[0])

    def file(self, path: str) -> tuple[Version, str, Entry]:
        """The version, the path in it, and what stands there, of what must be a file, or a symlink to one."""
        if not has_ref(path) and self._in_folder(path):
            raise IsADirectoryError(f"{safe_spelling(path)!r} is a folder of datasets")
        version, inner = self.version_of(path), split(path)[1]
        with _no_such_path(version):
            entry = version.tree_of_files().follow(to_path(inner))
            if entry.kind == FOLDER:
                raise IsADirectoryError(f"{safe_spelling(path)!r} is a folder")
        return version, inner, entry

    def info(self, path: str) -> Info:
        """What is at a path; of a file also its `digest` (plain BLAKE3-256, 64 hex digits).

        Of a symlink what it leads to, with `islink` and `destination`; of one that leads to
        nothing in the version, `type` is "link".
        """
        if not has_ref(path):
            if path and not self._in_folder(path):
                self.version_of(path)
            return _folder(path)
        version = self.version_of(path)
        files = version.tree_of_files()
        with _no_such_path(version):
            inner = to_path(split(path)[1])
            return _info(path, files.get(inner) or files.follow(inner), files)

    def children(self, path: str) -> list[Info]:
        """What is in a folder, by name; what is at the path itself where that is no folder."""
        itself = self.info(path)
        if itself["type"] != "directory":
            return [itself]
        if not has_ref(path):
            return [_folder(name) for name in self._in_folder(path)]
        files = self.version_of(path).tree_of_files()
        folder = files.follow(to_path(split(path)[1])).path
        infos = (_info(f"{path}/{_last(entry.path)}", entry, files) for entry in files.children(folder))
        return sorted(infos, key=lambda info: str(info["name"]))

    def below(self, path: str, with_folders: bool) -> dict[str, Info]:
        """All files below a path in a version, or the one at it, in one pass over the manifest.

        With folders, the one at the path is among them. Symlinks that lead to folders are folders,
        with nothing below them.
        """
        itself = self.info(path)
        if itself["type"] != "directory":
            return {path: itself}
        files = self.version_of(path).tree_of_files()
        folder = files.follow(to_path(split(path)[1])).path
        start = len(folder) + 1 if folder else 0
        found: dict[str, Info] = {path: itself} if with_folders else {}
        last_above = path
        for entry in files.scan(folder + b"/" if folder else b""):
            name = f"{path}/{entry.path[start:].decode()}"
            info = _info(name, entry, files)
            if not with_folders:
                if info["type"] != "directory":
                    found[name] = info
                continue
            found[name] = info
            above = name.rpartition("/")[0]
            if above != last_above:
                last_above = above
                while above not in found:
                    found[above] = _folder(above)
                    above = above.rpartition("/")[0]
        return found

    def _in_folder(self, folder: str) -> list[str]:
        """What is in a folder of datasets, by name."""
        prefix = folder + "/" if folder else ""
        names = set()
        for dataset in self._datasets():
            if dataset.name.startswith(prefix) and dataset.head is not None:
                name, slash, _ = dataset.name[len(prefix) :].partition("/")
                names.add(prefix + name if slash else f"{dataset.name}@latest")
        return sorted(names)


def _info(name: str, entry: Entry, files: Files) -> Info:
    if entry.kind == FOLDER:
        return _folder(name)
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
    return {**_info(name, found, files), **link}


def _folder(name: str) -> Info:
    return {"name": name, "size": 0, "type": "directory", "islink": False}


def _last(path: bytes) -> str:
    return path.rpartition(b"/")[2].decode()


@contextmanager
def _no_such_path(version: Version) -> Iterator[None]:
    """A path that no version can hold, or a link that leads out of it, is one that is not there."""
    try:
        yield
    except PathNotFoundError as error:
        raise PathNotFoundError(f"in {version.name} {error}; `dataver ls {version.name}` lists it") from None
    except BadInputError as error:
        raise PathNotFoundError(f"in {version.name} {error}") from error
