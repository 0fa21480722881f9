"""What this machine knows of the folders it committed from and checked out to.

Which version a folder is based on, in the user's cache folder and keyed by real path. Never an
error: what cannot be read back counts as unknown. Digests of files are in `dataver.stat_cache`.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from dataver.digest import Digest
from dataver.hashing import blake3_digest
from dataver.stat_file import key_name, replace_file, worktrees_folder
from dataver.values import NamedTuple

__all__ = [
    "Base",
    "announce_base",
    "announced_base",
    "base",
    "begin_base",
    "known_sources",
    "set_base",
    "unfinished_base",
]

_ANNOUNCED = "/announced"
_UNFINISHED = "/unfinished"


class Base(NamedTuple):
    """What the next changes of a source are measured against.

    `version` is the id of the version that it was last checked out from or committed as; None where
    it began with nothing. `own` are changes that it brought since to heads that others had moved, as
    pairs of ids: what differs from the first version to the second came from the source, while
    either holds more than the source does.
    """

    version: str | None
    own: tuple[tuple[str, str], ...] = ()

    @property
    def newest(self) -> str | None:
        """The last version that the source was committed as or checked out from."""
        return self.own[-1][1] if self.own else self.version

    def brought(self, onto: str, version: str) -> Base:
        """The base after the source's changes were put on top of the head `onto` as `version`."""
        if self.own and self.own[-1][1] == onto:
            return Base(self.version, (*self.own[:-1], (self.own[-1][0], version)))
        return Base(self.version, (*self.own, (onto, version)))


def base(key: bytes, repository_id: str, dataset: str) -> Base | None:
    """What this source is based on in a dataset, if it is known."""
    found = _read_base(_base_file(key, repository_id, dataset))
    return None if found is None else found[2]


def set_base(key: bytes, repository_id: str, dataset: str, base: Base) -> bool:
    """Remember what a source is based on, and forget what was announced or begun. Durable; the last writer
    wins.

    False where it could not be written. The caller should warn: the next commit from there takes
    the head as its base, and so would undo what others changed meanwhile.
    """
    saved = _save_base(key, repository_id, dataset, dataset, base)
    for line in (dataset + _ANNOUNCED, dataset + _UNFINISHED) if saved else ():
        with contextlib.suppress(OSError):
            os.unlink(_base_file(key, repository_id, line))
    return saved


def announce_base(key: bytes, repository_id: str, dataset: str, base: Base) -> bool:
    """Remember what a source will be based on if its `newest` version comes to be recorded.

    So a process that dies between recording and `set_base` leaves its source with the right base.
    """
    return _save_base(key, repository_id, dataset + _ANNOUNCED, dataset, base)


def announced_base(key: bytes, repository_id: str, dataset: str) -> Base | None:
    """What `announce_base` left. It counts only if the version is there."""
    return base(key, repository_id, dataset + _ANNOUNCED)


def begin_base(key: bytes, repository_id: str, dataset: str, base: Base) -> None:
    """Remember that a checkout begins. Until `set_base` the folder has some files of it and lacks others."""
    _save_base(key, repository_id, dataset + _UNFINISHED, dataset, base, durable=False)


def unfinished_base(key: bytes, repository_id: str, dataset: str) -> Base | None:
    """What `begin_base` left: a checkout did not come to its end."""
    return base(key, repository_id, dataset + _UNFINISHED)


def _save_base(
    key: bytes, repository_id: str, line: str, dataset: str, base: Base, *, durable: bool = True
) -> bool:
    import json

    text = json.dumps(
        {
            "path": key.decode("utf-8", "surrogateescape"),
            "repository": repository_id,
            "dataset": dataset,
            "version": base.version,
            "own": base.own,
            "used_ns": time.time_ns(),
        }
    )
    return replace_file(_base_file(key, repository_id, line), [text.encode()], durable=durable)


def known_sources(repository_id: str, dataset: str) -> list[bytes]:
    """The keys of all sources with a base in this dataset, the last used first. Some may be gone."""
    folder = _base_file(b"", repository_id, dataset).parent
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [read for name in names if name.endswith(".json") and (read := _read_base(folder / name))]
    return [path for _, path, _ in sorted(found, reverse=True)]


def _read_base(file: Path) -> tuple[int, bytes, Base] | None:
    import json

    try:
        with open(file, "rb") as opened:
            content = json.loads(opened.read(1 << 20))
        used_ns, path, version = content["used_ns"], content["path"], content["version"]
        if not isinstance(used_ns, int) or not isinstance(path, str):
            return None
        own = tuple([(str(Digest.parse(old)), str(Digest.parse(new))) for old, new in content["own"]])
        known = Base(None if version is None else str(Digest.parse(version)), own)
        return used_ns, path.encode("utf-8", "surrogateescape"), known
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _base_file(key: bytes, repository_id: str, dataset: str) -> Path:
    history = blake3_digest(f"{repository_id}\0{dataset}".encode()).hex()
    return worktrees_folder() / "bases" / history / (key_name(key) + ".json")
