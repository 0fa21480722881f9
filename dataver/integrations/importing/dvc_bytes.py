"""The bytes of DVC's outputs: from its cache, and from remotes where that lacks them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from dataver.errors import BadInputError, DamagedError
from dataver.integrations.importing.dvc_files import LIST_BYTES_MAX, Output, folder_list, settings
from dataver.integrations.importing.dvc_store import DigestStore, open_remote
from dataver.integrations.importing.pointed import MD5, Pointed, new_hash
from dataver.paths import safe_spelling

if TYPE_CHECKING:
    from dataver.integrations.importing.importer import Content
    from dataver.integrations.importing.pointed import Place

__all__ = ["DvcBytes", "read_settings"]

REMOTE_LOOKS = 16
"""So many files are looked for in a remote at a time."""
USER_SETTINGS = os.path.join("~", ".config", "dvc", "config")
SETTINGS_BYTES_MAX = 1 << 20


class DvcBytes:
    """Where the bytes of a project's outputs are. `folder` is its `.dvc`, None for one that is elsewhere."""

    def __init__(
        self,
        folder: str | None,
        texts: Sequence[str],
        *,
        remote: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """`texts` are its files of configuration. `remote` is a name in them or a URL, for all others."""
        plain, self._remotes = settings(list(texts))
        self._base = folder or os.curdir
        self._options = dict(options or {})
        self._chosen = remote
        self._default = plain.get("core.remote", "")
        where = plain.get("cache.dir") or "cache"
        has_cache = folder is not None or os.path.isabs(os.path.expanduser(where))
        self._cache = open_remote(where, self._base, _names, {}) if has_cache else None
        self._remote = cache(self._open)
        self._far: dict[str, Place] = {}

    def content(self, output: Output) -> Content:
        """The files of an output, each with where its bytes are."""
        name = output.path.rpartition(b"/")[2]
        whole = Pointed(name, output.algorithm, output.md5, output.executable)
        place = self._find(whole, output.remote)
        if not output.is_folder or place is None:
            return [(whole, place)]
        files = folder_list(_checked(whole, place), output.algorithm, safe_spelling(output.path))
        return list(zip(files, self._find_all(files, output.remote), strict=True))

    def _find_all(self, files: Sequence[Pointed], remote: str) -> list[Place | None]:
        found = [self._in_cache(pointed) for pointed in files]
        absent = [at for at, place in enumerate(found) if place is None]
        if not absent or not self._names_of_remotes(remote):
            return found
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(REMOTE_LOOKS, thread_name_prefix="dataver-look") as pool:
            looked = pool.map(lambda at: self._in_remotes(files[at], remote), absent)
            for at, place in zip(absent, looked, strict=True):
                found[at] = place
        return found

    def _find(self, pointed: Pointed, remote: str) -> Place | None:
        return self._in_cache(pointed) or self._in_remotes(pointed, remote)

    def _in_cache(self, pointed: Pointed) -> Place | None:
        return None if self._cache is None else self._cache.find(_key(pointed))

    def _in_remotes(self, pointed: Pointed, remote: str) -> Place | None:
        """Where it is in a remote; each is asked once for a file that it has."""
        key = _key(pointed)
        if key not in self._far:
            stores = map(self._remote, self._names_of_remotes(remote))
            found = next(filter(None, (store.find(key) for store in stores)), None)
            if found is None:
                return None
            self._far[key] = found
        return self._far[key]

    def _names_of_remotes(self, own: str) -> list[str]:
        """The remotes to look in: the chosen one, else the output's own, the default, and the others."""
        if self._chosen is not None:
            return [self._chosen]
        first = [name for name in (own, self._default) if name in self._remotes]
        return list(dict.fromkeys([*first, *self._remotes]))

    def _open(self, name: str) -> DigestStore:
        values = self._remotes.get(name)
        if values is None:
            if "/" not in name:
                known = ", ".join(map(safe_spelling, self._remotes)) or "none"
                raise BadInputError(f"DVC has no remote {safe_spelling(name)}; it has {known}")
            return open_remote(name, os.curdir, _names, self._options)
        return open_remote(values.get("url", ""), self._base, _names, self._options)


def read_settings(folder: str) -> list[str]:
    """What DVC reads to configure a project whose `.dvc` is this folder; what comes last wins."""
    places = (
        os.path.expanduser(USER_SETTINGS),
        *(os.path.join(folder, name) for name in ("config", "config.local")),
    )
    found = []
    for place in places:
        try:
            with open(place, "rb") as file:
                found.append(file.read(SETTINGS_BYTES_MAX).decode("utf-8", "surrogateescape"))
        except OSError:
            continue
    return found


def _key(pointed: Pointed) -> str:
    return f"{pointed.algorithm}:{pointed.digest}"


def _names(key: str) -> tuple[str, str]:
    """Where a file is in a cache or remote: as DVC 3 has those it hashed itself, or as older ones do."""
    algorithm, _, digest = key.partition(":")
    old = f"{digest[:2]}/{digest[2:]}"
    new = f"files/md5/{old}"
    return (new, old) if algorithm == MD5 else (old, new)


def _checked(pointed: Pointed, place: Place) -> bytes:
    """The list of a folder, compared with the MD5 that names it."""
    if place.size > LIST_BYTES_MAX:
        raise BadInputError(f"{place.name} has {place.size} bytes, too many for the list of a folder")
    with place.open() as file:
        data = b"".join(iter(lambda: file.read(1 << 20), b""))
    found = new_hash(pointed, len(data))
    found.update(data)
    if f"{found.hexdigest()}.dir" != pointed.digest:
        raise DamagedError(
            f"{place.name}, the list of the folder {safe_spelling(pointed.path)}, is damaged: it has the MD5 "
            f"{found.hexdigest()}, and not {pointed.digest}. Nothing was imported; fetch it again"
        )
    return data
