"""An fsspec file system that creates files exclusively, as the clients of object stores do.

It keeps its objects in a folder, so that several processes see them and no service is needed:
`register()`, then `bucket:///FOLDER` is the URL of a store that is reached through fsspec and
passes the probe.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

PROTOCOL = "bucket"
_PART = ".part"


class BucketFileSystem(LocalFileSystem):  # type: ignore[misc]  # fsspec has no types
    """fsspec's local files, but written whole or not at all, and never over one that is there."""

    protocol = PROTOCOL
    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write a file. `mode="create"`: `FileExistsError`, and nothing changed, where there is one."""
        path = self._strip_protocol(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}-{os.urandom(8).hex()}{_PART}"
        with open(temporary, "xb") as file:
            file.write(value)
        try:
            if mode == "create":
                os.link(temporary, path)
            else:
                os.replace(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> list[Any]:
        """The files and folders at `path`, without those that are being written."""
        entries = super().ls(path, detail=True, **kwargs)
        return [e if detail else e["name"] for e in entries if not e["name"].endswith(_PART)]


def register() -> None:
    """Make `bucket://` known to fsspec in this process."""
    fsspec.register_implementation(PROTOCOL, BucketFileSystem, clobber=True)
