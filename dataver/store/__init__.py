"""Where bytes are kept: keys and bytes, nothing of chunks."""

from __future__ import annotations

from dataver.store.base import ObjectInfo, Store, View, Wrapper

__all__ = ["ObjectInfo", "Store", "View", "Wrapper"]
