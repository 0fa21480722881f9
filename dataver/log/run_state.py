"""What the state knows of runs and models, beyond their records."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from dataver.digest import DIGEST_BYTES, Digest
from dataver.format.operations import ID_BYTES, NO_DIGEST
from dataver.log import state as keys
from dataver.log.state import State
from dataver.values import dataclass

__all__ = [
    "ModelState",
    "RunState",
    "model_named",
    "models",
    "models_of_run",
    "models_with",
    "newest_model",
    "run_named",
    "run_state",
    "runs",
    "runs_of_version",
    "tracked",
]

_RUN = struct.Struct("<Q32s32sB")


@dataclass(frozen=True, slots=True)
class RunState:
    """A run that was started at `entry`. `end` is None where nobody recorded how it ended."""

    id: bytes
    entry: int
    start: Digest
    end: Digest | None
    status: int

    @property
    def record(self) -> Digest:
        """The newest record."""
        return self.end or self.start

    def pack(self) -> bytes:
        """The value in the state."""
        return _RUN.pack(self.entry, self.start, self.end or NO_DIGEST, self.status)


@dataclass(frozen=True, slots=True)
class ModelState:
    """Version `number` of a model, made by `run`; `record` is that of the run which names it."""

    name: str
    number: int
    run: bytes
    record: Digest

    def __str__(self) -> str:
        return f"{self.name}@v{self.number}"


def run_state(run: bytes, value: bytes) -> RunState:
    """The value in the state, read."""
    entry, start, end, status = _RUN.unpack(value)
    return RunState(bytes(run), entry, Digest(start), None if end == NO_DIGEST else Digest(end), status)


def runs(state: State, *, newest_first: bool = False) -> Iterator[RunState]:
    """All runs, in the order in which the log has their starts, or the other way round."""
    ids: Iterable[bytes] = (key[-ID_BYTES:] for key, _ in state.items(keys.RUN_ORDER))
    for id in reversed(list(ids)) if newest_first else ids:
        found = run_named(state, id)
        if found is not None:
            yield found


def run_named(state: State, run: bytes) -> RunState | None:
    """The run of this id."""
    value = state.get(keys.RUN + run)
    return None if value is None else run_state(run, value)


def runs_of_version(state: State, version: bytes) -> Iterator[tuple[bytes, int]]:
    """The runs that read or made a version, by id, each with `READ`, `MADE` or both."""
    for key, value in state.items(keys.USED + version):
        yield key[-ID_BYTES:], value[0]


def tracked(state: State, name: str) -> Iterator[bytes]:
    """The runs that another tool knows as `KIND:ID`."""
    for key, _ in state.items(keys.TRACKED + name.encode() + b"\0"):
        yield key[-ID_BYTES:]


def models(state: State, prefix: bytes = b"") -> Iterator[ModelState]:
    """The models whose `NAME 0x00 number` begins with `prefix`, by name and number."""
    for key, value in state.items(keys.MODEL + prefix):
        name, _, number = key[4:].partition(b"\0")
        run, record = value[:ID_BYTES], Digest(value[ID_BYTES : ID_BYTES + DIGEST_BYTES])
        yield ModelState(name.decode(), int.from_bytes(number, "big"), run, record)


def model_named(state: State, name: str, number: int) -> ModelState | None:
    """One version of a model."""
    return next(models(state, name.encode() + b"\0" + number.to_bytes(8, "big")), None)


def newest_model(state: State, name: str) -> ModelState | None:
    """The version of a model with the highest number."""
    found = None
    for found in models(state, name.encode() + b"\0"):  # noqa: B007 - the last one is meant
        pass
    return found


def models_of_run(state: State, run: bytes) -> list[ModelState]:
    """The models that a run made."""
    return _named(state, keys.MODEL_BY_RUN + run)


def models_with(state: State, digest: bytes) -> list[ModelState]:
    """The models whose files have this tree, or one of whose files has this digest."""
    return _named(state, keys.MODEL_BY_DIGEST + digest)


def _named(state: State, prefix: bytes) -> list[ModelState]:
    found: list[ModelState] = []
    for key, _ in state.items(prefix):
        name, _, number = key[len(prefix) :].partition(b"\0")
        model = model_named(state, name.decode(), int.from_bytes(number, "big"))
        if model is not None:
            found.append(model)
    return found
