"""Reading what is recorded of runs and models, and finding them by what users call them."""

from __future__ import annotations

import re

from dataver.digest import Digest
from dataver.errors import BadInputError, RefNotFoundError
from dataver.format.run_record import RunRecord, decode_run
from dataver.hashing import Kind
from dataver.log import run_state
from dataver.log import state as keys
from dataver.log.run_state import ModelState, RunState
from dataver.log.state import State
from dataver.session import Session

__all__ = ["MODEL_PREFIX", "RUN_PREFIX", "Records", "check_model_name", "find_model", "find_run"]

RUN_PREFIX, MODEL_PREFIX = "run:", "model:"
RUN_DIGITS_MIN = 4
NEAREST = 5
_MODEL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
MODEL_NAME_CHARACTERS_MAX = 200


class Records:
    """The records of runs, each read once and checked against its digest."""

    def __init__(self, session: Session, state: State) -> None:
        self._objects = session.objects(state)
        self._state = state
        self._read: dict[bytes, RunRecord] = {}

    def of(self, run: RunState) -> RunRecord:
        """The newest record of a run."""
        return self.record(run.record)

    def record(self, digest: bytes) -> RunRecord:
        """The record of this digest. `DamagedError` where it is missing or is not what it should be."""
        found = self._read.get(digest)
        if found is None:
            data = self._objects.record(Kind.RUN, digest)
            found = self._read[digest] = decode_run(data, f"run record {bytes(digest).hex()}")
        return found

    def part(self, digest: str) -> bytes:
        """The bytes of a part that a record names."""
        return self._objects.record(Kind.RUN_PART, Digest.parse(digest))


def check_model_name(name: str) -> str:
    """The name of a model, as names of datasets are spelled. `BadInputError` for any other."""
    if not _MODEL_NAME.fullmatch(name) or len(name) > MODEL_NAME_CHARACTERS_MAX:
        raise BadInputError(
            f"{name[:100]!r} cannot name a model: segments of letters, digits, '_', '.' and '-' joined by "
            f"'/', none starting with '.' or '-', {MODEL_NAME_CHARACTERS_MAX} characters at most"
        )
    return name


def find_run(state: State, text: str) -> RunState:
    """The run `ID` or `run:ID`, also by its first digits if no other begins so.

    `RefNotFoundError` where there is none, `BadInputError` for what is no id or begins several.
    """
    digits = text.removeprefix(RUN_PREFIX).lower()
    if not re.fullmatch(rf"[0-9a-f]{{{RUN_DIGITS_MIN},32}}", digits):
        raise BadInputError(
            f"{text[:60]!r} is no run: write its id, or {RUN_DIGITS_MIN} or more of its first hex digits, "
            "as `dataver runs` lists them"
        )
    even = bytes.fromhex(digits[: len(digits) // 2 * 2])
    found = [key[4:] for key, _ in state.items(keys.RUN + even) if key[4:].hex().startswith(digits)]
    if not found:
        raise RefNotFoundError(f"there is no run {digits}; `dataver runs` lists them")
    if len(found) > 1:
        raise BadInputError(f"{len(found)} runs begin with {digits}; write more of its digits")
    run = run_state.run_named(state, found[0])
    assert run is not None
    return run


def find_model(state: State, text: str) -> ModelState:
    """The model `NAME@vN`, `NAME@latest` or `NAME`, which is its newest version; `model:` may stand before.

    `RefNotFoundError` where there is none, `BadInputError` for what names none.
    """
    name, at, selector = text.removeprefix(MODEL_PREFIX).partition("@")
    check_model_name(name)
    if at and selector != "latest" and not re.fullmatch(r"v[1-9][0-9]{0,17}", selector):
        raise BadInputError(f"{text[:100]!r} names no version of a model: write {name}@v1 or {name}@latest")
    if at and selector != "latest":
        found = run_state.model_named(state, name, int(selector[1:]))
    else:
        found = run_state.newest_model(state, name)
    if found is None:
        raise RefNotFoundError(f"there is no model {text.removeprefix(MODEL_PREFIX)}{_known(state, name)}")
    return found


def _known(state: State, name: str) -> str:
    """What there is, for a message."""
    same = [str(model) for model in run_state.models(state, name.encode() + b"\0")]
    if same:
        return f"; there is {', '.join(same[-NEAREST:])}"
    names = list(dict.fromkeys(model.name for model in run_state.models(state)))
    return f"; there are {', '.join(names[:NEAREST])}" if names else "; no model was recorded here"
