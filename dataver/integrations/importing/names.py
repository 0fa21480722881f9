"""Names of other tools as names here."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from hashlib import blake2b

from dataver.errors import BadInputError
from dataver.refs import MAIN, check_dataset_name, check_ref_name

__all__ = ["dataset_name", "mark", "ref_names"]

_OTHERS = re.compile(r"[^A-Za-z0-9_.-]+")
NAME_CHARACTERS_MAX = 180


def dataset_name(text: str) -> str:
    """The name of a dataset for a path or another text: what no name can have becomes `-`."""
    segments = [_segment(part) for part in text.split("/") if part not in ("", ".")]
    return check_dataset_name("/".join(segments)[-NAME_CHARACTERS_MAX:].lstrip("/.-") or "data")


def ref_names(names: Iterable[str], taken: Container[str] = (MAIN,)) -> dict[str, str]:
    """A legal name for each branch or tag of git, its own where that is one; no two get the same."""
    found: dict[str, str] = {}
    wanted = sorted(names)
    for name in (*filter(_is_legal, wanted), *(name for name in wanted if not _is_legal(name))):
        legal = name
        if not _is_legal(name) or name in taken:
            legal = _segment(name.replace("/", "-"))[:NAME_CHARACTERS_MAX]
            if not _is_legal(legal) or legal in taken:
                legal = f"git-{legal}"
        if legal in found.values() or legal in taken:
            legal = f"{legal}-{mark(name)}"
        found[name] = legal
    return found


def mark(text: str) -> str:
    """Six digits that tell this text from others that became the same name."""
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=3).hexdigest()


def _segment(text: str) -> str:
    return _OTHERS.sub("-", text).lstrip(".-") or f"_{mark(text)}"


def _is_legal(name: str) -> bool:
    try:
        check_ref_name(name)
    except BadInputError:
        return False
    return True
