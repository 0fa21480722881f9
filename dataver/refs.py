"""`DATASET@SELECTOR`: the grammar, the rules for names, and what a ref means in a state."""

from __future__ import annotations

import re
from collections.abc import Callable

from dataver.digest import Digest
from dataver.errors import BadInputError, DamagedError, RefNotFoundError
from dataver.format.operations import TAG
from dataver.format.version import VersionRecord
from dataver.log.state import KIND_NAMES, RefState, State, VersionState
from dataver.values import dataclass

MAIN = "main"
LATEST = "latest"
DATASET_CHARACTERS_MAX = 200
ID_PREFIX_DIGITS_MIN = 8

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_NUMBER = re.compile(r"v([1-9][0-9]{0,17})", re.ASCII)
_LIKE_NUMBER = re.compile(r"v[0-9]+", re.ASCII)
_HEX = re.compile(rf"[0-9a-f]{{{ID_PREFIX_DIGITS_MIN},64}}", re.ASCII)
_LIKE_HEX = re.compile(rf"[0-9a-fA-F]{{{ID_PREFIX_DIGITS_MIN},64}}", re.ASCII)
_SELECTOR = re.compile(r"([^~]+)((?:~[0-9]*)*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ref:
    """A parsed ref: `selector` is a name, `latest`, `vN` or hex digits; `back` counts first parents."""

    dataset: str
    selector: str
    back: int = 0

    def __str__(self) -> str:
        return f"{self.dataset}@{self.selector}" + (f"~{self.back}" if self.back else "")


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a ref means: the dataset by name and by id, and the version."""

    name: str
    dataset: bytes
    version: VersionState

    @property
    def canonical(self) -> str:
        """The name that will not drift: `DATASET@vN`, or `DATASET@<64 hex>` off `main`."""
        number = self.version.number
        return f"{self.name}@v{number}" if number else f"{self.name}@{self.version.id}"


def check_dataset_name(name: str) -> str:
    """Return `name`, or raise `BadInputError`."""
    if len(name) > DATASET_CHARACTERS_MAX or not all(map(_SEGMENT.fullmatch, name.split("/"))):
        raise BadInputError(
            f"{name[:300]!a} is not a name for a dataset: segments of ASCII letters, digits, '_', '.' and "
            f"'-' joined by '/', none starting with '.' or '-', {DATASET_CHARACTERS_MAX} characters at most"
        )
    return name


def check_ref_name(name: str) -> str:
    """Return the name for a branch, tag or alias, or raise `BadInputError`."""
    if len(name) > DATASET_CHARACTERS_MAX or not _SEGMENT.fullmatch(name):
        raise BadInputError(
            f"{name[:300]!a} is not a name for a branch, tag or alias: ASCII letters, digits, '_', '.' "
            "and '-', not starting with '.' or '-'"
        )
    if name == LATEST or _LIKE_NUMBER.fullmatch(name) or _LIKE_HEX.fullmatch(name):
        raise BadInputError(
            f"{name!r} cannot name a branch, tag or alias: 'latest', 'vN' and 8 to 64 hex digits "
            "mean versions"
        )
    return name


def parse_ref(text: str) -> Ref:
    """Parse `DATASET[@SELECTOR[~N]…]`; a bare dataset is its `latest`. `BadInputError` otherwise."""
    dataset, at, rest = text.partition("@")
    check_dataset_name(dataset)
    if not at:
        return Ref(dataset, LATEST)
    match = _SELECTOR.fullmatch(rest)
    if match is None or len(rest) > 2 * DATASET_CHARACTERS_MAX:
        raise BadInputError(f"{text[:300]!a} is not a ref: DATASET@SELECTOR is expected, such as iris@v3")
    selector, steps = match[1], match[2].split("~")[1:]
    back = sum(int(step) if step else 1 for step in steps)
    if not (selector == LATEST or _NUMBER.fullmatch(selector) or _HEX.fullmatch(selector)):
        if _LIKE_HEX.fullmatch(selector):
            raise BadInputError(f"{selector!r} is not an id: its hex digits are lower case")
        check_ref_name(selector)
    return Ref(dataset, selector, back)


def is_exact(ref: Ref) -> bool:
    """Whether a ref names a version by number or id, which no branch, tag or alias can change."""
    return bool(_NUMBER.fullmatch(ref.selector) or _HEX.fullmatch(ref.selector))


def require_dataset(state: State, name: str) -> bytes:
    """The id of the dataset called `name`, or `RefNotFoundError`."""
    check_dataset_name(name)
    dataset = state.dataset(name)
    if dataset is None:
        raise RefNotFoundError(f"there is no dataset {name!r} here; `dataver list` shows those there are")
    return dataset


def resolve(state: State, ref: Ref, record: Callable[[Digest], VersionRecord]) -> Resolved:
    """What `ref` means in `state`; `record` reads version records, for `~N`."""
    dataset = require_dataset(state, ref.dataset)
    version = _select(state, dataset, ref)
    for _ in range(ref.back):
        parents = record(version.id).parents
        if not parents:
            raise RefNotFoundError(
                f"{ref} is before the first version; `dataver log {ref.dataset}` lists those there are"
            )
        if is_absent(state, dataset, parents[0]):
            raise RefNotFoundError(
                f"{ref} goes back past version {version.id}, whose parent {parents[0]} is not here: the "
                f"history was copied in part. `dataver pull {ref.dataset} --from URL` brings the rest"
            )
        version = require_version(state, dataset, parents[0])
    return Resolved(ref.dataset, dataset, version)


def require_version(state: State, dataset: bytes, version: bytes) -> VersionState:
    """What the state knows of a version that it must know."""
    found = state.version(dataset, version)
    if found is None:
        raise DamagedError(f"version {Digest(version)} is named but not in the log; run `dataver verify`")
    return found


def is_absent(state: State, dataset: bytes, version: bytes) -> bool:
    """Whether a parent is left out on purpose, in a history that was copied in part."""
    return state.version(dataset, version) is None and state.is_absent(dataset, version)


def live_ref(state: State, dataset: bytes, name: str) -> RefState | None:
    """The branch, tag or alias `name`, unless it is deleted."""
    ref = state.ref(dataset, name)
    return None if ref is None or ref.deleted else ref


def _select(state: State, dataset: bytes, ref: Ref) -> VersionState:
    selector = MAIN if ref.selector == LATEST else ref.selector
    number = _NUMBER.fullmatch(selector)
    if number:
        version = state.numbered(dataset, int(number[1]))
        if version is None:
            raise RefNotFoundError(
                f"{ref.dataset} has no version {selector}; `dataver log {ref.dataset}` lists them"
            )
        if is_absent(state, dataset, version):
            raise RefNotFoundError(
                f"{ref.dataset}@{selector} is not here any more: it was pruned, or left out when the history "
                f"was copied; `dataver log {ref.dataset}` lists what there is"
            )
        return require_version(state, dataset, version)
    if _HEX.fullmatch(selector):
        return _by_prefix(state, dataset, ref)
    named = live_ref(state, dataset, selector)
    if named is None:
        known = ", ".join(f"{r.name} ({KIND_NAMES[r.kind]})" for r in state.refs(dataset) if not r.deleted)
        raise RefNotFoundError(
            f"{ref.dataset} has no branch, tag or alias {selector!r}; it has {known or 'none'}"
        )
    return require_version(state, dataset, named.target)


def _by_prefix(state: State, dataset: bytes, ref: Ref) -> VersionState:
    digits = ref.selector
    found = [
        version
        for version in state.versions(dataset, bytes.fromhex(digits[: len(digits) & ~1]))
        if str(version.id).startswith(digits)
    ]
    if not found:
        raise RefNotFoundError(f"{ref.dataset} has no version whose id begins with {digits}")
    if len(found) > 1:
        ids = ", ".join(str(version.id)[: len(digits) + 8] for version in found[:4])
        raise BadInputError(
            f"{digits} begins the ids of {len(found)} versions of {ref.dataset}: {ids}; give more digits"
        )
    return found[0]


def check_new_ref(state: State, dataset: bytes, kind: int, name: str, target: Digest) -> RefState | None:
    """What stands under `name` now, where a ref of this kind may be set there; else `AlreadyExistsError`."""
    from dataver.errors import AlreadyExistsError

    check_ref_name(name)
    ref = state.ref(dataset, name)
    if ref is None:
        return None
    if ref.deleted:
        if ref.kind == TAG and (kind != TAG or ref.target != target):
            raise AlreadyExistsError(
                f"{name!r} was a tag at {ref.target}, and the name of a deleted tag may only come back there"
            )
        return None
    if ref.kind != kind:
        raise AlreadyExistsError(f"{name!r} is a {KIND_NAMES[ref.kind]} already, at {ref.target}")
    if kind == TAG and ref.target != target:
        raise AlreadyExistsError(
            f"tag {name!r} is at {ref.target} already, and tags never move; choose another name"
        )
    return ref
