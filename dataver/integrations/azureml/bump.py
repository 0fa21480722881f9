"""Pins by digest in files that people and tools wrote: set to another version, and nothing else touched.

A pin is `iris@<8 to 64 hex digits>`. Where a file has one, whole ids that it pins are replaced wherever else
they stand, as in the path of an export, and so are the versions of the data asset, `azureml:iris:3`. An
environment, a component or a model may have that name too: what stands around tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataver.errors import BadInputError
from dataver.values import dataclass

if TYPE_CHECKING:
    from dataver.integrations.azureml.jobs import Pin

__all__ = ["Bumped", "bump", "bump_files"]

FILE_BYTES_MAX = 64 << 20
AROUND_BYTES = 4096
"""How far from an asset's name it is looked for what kind of asset that is."""
_OF_ANOTHER_KIND = re.compile(
    rb"(?<![\w-])(?:--)?(?:code|component|compute|environment|image|job|model|trial)"
    rb"(?:['\"]?\s*[:=]\s*|[ \t]+)['\"]?\Z"
)
"""A key, or an option, of what is no data."""
_MODEL = re.compile(
    rb"(?<!\w)type['\"]?\s*[:=]\s*['\"]?(?:AssetTypes\.)?(?:custom|mlflow|triton)_model(?!\w)", re.IGNORECASE
)
_BRACKETS = re.compile(rb"[{}()]")


@dataclass(frozen=True, slots=True)
class Bumped:
    """What became of one file: `old` are the refs that it pinned, `new` is the one it pins now.

    `changed`: it was rewritten; a file that pinned `new` already is left alone.
    """

    path: str
    old: tuple[str, ...]
    new: str
    changed: bool


def bump(text: bytes, pin: Pin) -> tuple[bytes, tuple[str, ...]]:
    """The text with `pin` in place of other versions of its dataset, and the refs that it pinned before.

    An id that is cut to fewer digits stays as short as it was. No refs, and the same text, where the
    dataset is not pinned in it.
    """
    dataset, _, id = pin.ref.partition("@")
    name = re.escape(dataset.encode())
    pinned = re.compile(rb"(?:(?<![\w./@-])|(?<=dataver://))" + name + rb"@([0-9a-f]{8,64})(?![\w-])")
    old = tuple(dict.fromkeys(match[1].decode() for match in pinned.finditer(text)))
    if not old:
        return text, ()
    text = pinned.sub(lambda match: f"{dataset}@{id[: len(match[1])]}".encode(), text)
    for one in old:  # of a short one the whole id that begins so
        rest = rb"[0-9a-f]{%d}" % (len(id) - len(one))
        whole = re.compile(rb"(?<![0-9a-f])" + one.encode() + rest + rb"(?![0-9a-f])")
        text = whole.sub(id.encode(), text)
    asset, _, number = pin.asset.rpartition(":")
    assets = re.compile(rb"(?<![\w.-])" + re.escape(asset.encode()) + rb":[A-Za-z0-9][\w.-]*")
    whole_text, wanted = text, f"{asset}:{number}".encode()
    text = assets.sub(lambda match: wanted if _is_data(whole_text, match) else match[0], text)
    return text, tuple(f"{dataset}@{one}" for one in old)


def _is_data(text: bytes, match: re.Match[bytes]) -> bool:
    """Whether the asset that a job names here is data, and not another kind of the same name."""
    before = text[max(match.start() - AROUND_BYTES, 0) : match.start()]
    after = text[match.end() : match.end() + AROUND_BYTES]
    if _OF_ANOTHER_KIND.search(before):
        return False
    return _MODEL.search(_bracketed(before, after) or _block(before, after)) is None


def _bracketed(before: bytes, after: bytes) -> bytes:
    """What the innermost brackets around it hold, of JSON, YAML in one line or Python; empty: no brackets."""
    start, end = _unpaired(before[::-1], b"})", b"{("), _unpaired(after, b"{(", b"})")
    if start is None or end is None:
        return b""
    return before[len(before) - start :] + after[:end]


def _unpaired(text: bytes, opening: bytes, closing: bytes) -> int | None:
    """Where the first bracket closes that was not opened here."""
    depth = 0
    for found in _BRACKETS.finditer(text):
        depth += 1 if found[0] in opening else -1
        if depth < 0 and found[0] in closing:
            return found.start()
    return None


def _block(before: bytes, after: bytes) -> bytes:
    """The lines of the same mapping in a block of YAML: those that are indented as this one."""
    above, below = before.split(b"\n"), after.split(b"\n")[1:]
    column = _column(above[-1])
    found = []
    for line in reversed(above):
        if line.strip() and _column(line) < column:
            break
        if _column(line) == column:
            found.append(line)
            if line.lstrip().startswith(b"-"):  # where an item of a list begins
                break
    for line in below:
        if line.strip() and len(line) - len(line.lstrip()) < column:
            break
        if _column(line) == column:
            found.append(line)
    return b"\n".join(found)


def _column(line: bytes) -> int:
    """Where its key is."""
    return len(line) - len(line.lstrip(b" -"))


def bump_files(paths: Sequence[str], pin: Pin) -> list[Bumped]:
    """Do so in files; none is written unless each of them pins the dataset. `BadInputError` otherwise."""
    from dataver.replacing import read_whole, replacing

    texts = [(path, read_whole(path, FILE_BYTES_MAX, "a file that pins versions")) for path in paths]
    bumped = [(path, text, *bump(text, pin)) for path, text in texts]
    for path, _, _, old in bumped:
        if not old:
            raise BadInputError(
                f"{path} pins no version of {pin.dataset}: a pin is {pin.dataset}@ and the digits of an id"
            )
    done = []
    for path, text, new, old in bumped:
        if new != text:
            with replacing(path) as file:
                file.write(new)
        done.append(Bumped(path, old, pin.ref, new != text))
    return done
