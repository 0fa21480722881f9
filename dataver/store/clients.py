"""fsspec's file systems by URL, each with the client that suits us best."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

AZURE = ("az", "abfs", "abfss")


def file_system(url: str, storage_options: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Raises what the client raises when it logs in.

    fsspec may give one object to several callers. Of Azure it is adlfs with our own patience.
    """
    if url.partition("://")[0] in AZURE:
        from dataver.store.azure_client import connect

        fs = connect(url, storage_options)
        return fs, str(fs._strip_protocol(url))
    import fsspec

    found: tuple[Any, str] = fsspec.core.url_to_fs(url, **storage_options)
    return found


def account(fs: Any) -> str:
    """What tells the places of this file system from those of the same URL elsewhere; empty mostly."""
    client = getattr(fs, "service_client", None)
    return "" if client is None else public_url(str(client.url))


def public_url(url: str) -> str:
    """`url` as it may be shown and stored: without a password, a query or a fragment."""
    return without_password(re.split(r"[?#]", url, maxsplit=1)[0]).rstrip("/")


def without_password(url: str) -> str:
    """`url` without a password."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1@", url)
