"""What the processes of a run noted, made into what its record says of inputs and outputs.

The notes are of `dataver.recording`. A process that was killed left a line half written at worst; that
line is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from typing import Any, TypeGuard

from dataver.errors import DamagedError
from dataver.format.run_record import (
    PART_BYTES_MAX,
    RUN_RECORD_BYTES_MAX,
    ModelFile,
    RunInput,
    RunModel,
    RunOutput,
    RunRecord,
    Tracker,
    decode_run,
    part_digest,
)
from dataver.recording import NOTES_SUFFIX, FileReads
from dataver.values import dataclass

__all__ = ["Gathered", "gather", "noted_trackers"]

Key = tuple[str, str, str, str]
"""Repository, version, role, and the part as text."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a run read and made, the parts that the inputs name, and what it is called in other tools."""

    inputs: tuple[RunInput, ...] = ()
    outputs: tuple[RunOutput, ...] = ()
    parts: tuple[bytes, ...] = ()
    models: tuple[RunModel, ...] = ()
    trackers: tuple[Tracker, ...] = ()


@dataclass(slots=True)
class _Notes:
    """What the processes of a run noted, in the order in which their files are read."""

    reads: list[_Read] = field(default_factory=list)
    made: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    models: list[RunModel] = field(default_factory=list)
    trackers: list[Tracker] = field(default_factory=list)


@dataclass(slots=True)
class _File:
    digest: str
    size: int
    ranges: FileReads | None = None
    """None: all of it."""

    def merge(self, other: _File) -> None:
        """Both were read."""
        if self.ranges is None or other.ranges is None:
            self.ranges = None
        else:
            for start, stop in other.ranges.ranges:
                self.ranges.add(start, stop)

    def settled(self) -> list[list[int]] | None:
        """The ranges, or None where they are the whole file."""
        ranges = None if self.ranges is None else self.ranges.ranges
        return None if ranges in (None, [[0, self.size]]) else ranges


@dataclass(slots=True)
class _Read:
    """A version as one process, or several, asked for it, and what was read of it."""

    facts: Mapping[str, Any]
    files: dict[str, _File] = field(default_factory=dict)
    all: bool = False

    def merge(self, other: _Read) -> None:
        """The same version was read both ways."""
        self.all = self.all or other.all
        for path, file in other.files.items():
            if path in self.files:
                self.files[path].merge(file)
            else:
                self.files[path] = file

    @property
    def touched(self) -> bool:
        """Whether anything of it was read."""
        return self.all or bool(self.files)


def gather(folder: str) -> Gathered:
    """Read the notes in a run's folder. `DamagedError` where they say what no record can hold."""
    try:
        found = _gather(folder)
        record = RunRecord(
            "", "", "", 0,
            inputs=found.inputs, outputs=found.outputs, models=found.models, trackers=found.trackers,
        ).encode()  # fmt: skip
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        raise DamagedError(f"the notes in {folder} are malformed: {type(error).__name__}: {error}") from error
    if len(record) <= RUN_RECORD_BYTES_MAX:
        decode_run(record, f"what the notes in {folder} say")
    return found


def _gather(folder: str) -> Gathered:
    notes = _Notes()
    for name in sorted(os.listdir(folder)):
        if name.endswith(NOTES_SUFFIX):
            _read_notes(os.path.join(folder, name), notes)
    reads, made = notes.reads, notes.made
    reads.sort(key=lambda read: int(read.facts.get("time_ns", 0)))
    own = {key for key, output in made.items() if output.get("created")}
    inputs: list[RunInput] = []
    parts: list[bytes] = []
    for read in _merged(reads):
        facts = read.facts
        if (facts["repository"], facts["dataset"], facts["version"]) not in own:
            given, listed = _input(read)
            inputs.append(given)
            parts += listed
    outputs = [
        RunOutput(o["dataset"], o["version"], o["tree"], o["repository"], o["number"]) for o in made.values()
    ]
    return Gathered(
        tuple(inputs), tuple(outputs), tuple(parts), tuple(notes.models), tuple(dict.fromkeys(notes.trackers))
    )


def noted_trackers(folder: str) -> tuple[Tracker, ...]:
    """What a run that is on is called in other tools, as its processes noted it so far; no more is read."""
    found: list[Tracker] = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(NOTES_SUFFIX):
            with open(os.path.join(folder, name), "rb") as file:
                lines = [line for line in file if line.startswith(b'["t",') and line.endswith(b"\n")]
            found += [Tracker(**json.loads(line)[1]) for line in lines]
    return tuple(dict.fromkeys(found))


def _read_notes(path: str, notes: _Notes) -> None:
    versions: dict[int, _Read] = {}
    for line in _lines(path):
        # Any process of the run may write there: what is no note is passed over, as one that is cut short.
        with suppress(TypeError, ValueError, LookupError, AttributeError):
            _read_line(line, versions, notes)


def _read_line(line: list[Any], versions: dict[int, _Read], notes: _Notes) -> None:
    kind, *values = line
    if kind == "o" and _is_version(values[0]):
        made = values[0]
        notes.made.setdefault((made["repository"], made["dataset"], made["version"]), made)
    elif kind == "v" and _is_version(values[1]):
        versions[values[0]] = _Read(values[1])
        notes.reads.append(versions[values[0]])
    elif kind == "m":
        files = tuple([ModelFile(**file) for file in values[0]["files"]])
        notes.models.append(RunModel(**{**values[0], "files": files}))
    elif kind == "t":
        notes.trackers.append(Tracker(**values[0]))
    elif values and values[0] in versions:
        _note(versions[values[0]], kind, values[1:])


def _is_version(value: Any) -> TypeGuard[dict[str, Any]]:
    wanted = ("dataset", "repository", "tree", "version")
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in wanted)


def _note(read: _Read, kind: str, values: list[Any]) -> None:
    if kind == "a":
        read.all = True
    elif kind == "f":
        path, digest, size = values
        read.files[path] = _File(digest, size)
    elif kind == "p":
        path, digest, size, start, stop = values
        file = read.files.setdefault(path, _File(digest, size, FileReads()))
        if file.ranges is not None:
            file.ranges.add(start, stop)
    elif kind == "r" and values[0] in read.files:
        ranges = read.files[values[0]].ranges
        if ranges is not None:
            for start, stop in values[1]:
                ranges.add(start, stop)


def _lines(path: str) -> Iterator[list[Any]]:
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # A full disk cut it short.
                if isinstance(value, list) and value:
                    yield value


def _merged(reads: list[_Read]) -> list[_Read]:
    """One for each version, role and part, in the order in which they were first asked for.

    What was read of a version without saying as what belongs to what the user said of it, if that is
    one thing; a version that was only looked up, and of which a part was read, is that part.
    """
    found: dict[Key, _Read] = {}
    for read in reads:
        key = _key(read.facts)
        if key not in found:
            found[key] = read
            continue
        # What was declared is what the record says, whoever was first.
        if read.facts.get("declared") and not found[key].facts.get("declared"):
            found[key].facts = {**read.facts, "time_ns": found[key].facts.get("time_ns", 0)}
        found[key].merge(read)
    for key, read in list(found.items()):
        same = [other for other in found.values() if other is not read and _same_version(other, read)]
        declared = [other for other in same if other.facts.get("declared")]
        fitting = [other for other in declared if other.facts.get("split") == read.facts.get("split")]
        chosen = fitting if len(fitting) == 1 else declared
        if not read.facts.get("declared") and len(chosen) == 1:
            if not (read.facts.get("split") and read.facts["split"] != chosen[0].facts.get("split")):
                chosen[0].merge(read)
                del found[key]
        elif not read.touched and not read.facts.get("declared") and same:
            del found[key]
    return list(found.values())


def _key(facts: Mapping[str, Any]) -> Key:
    part = json.dumps(facts.get("split"), sort_keys=True)
    return f"{facts['repository']} {facts['dataset']}", facts["version"], str(facts.get("role")), part


def _same_version(a: _Read, b: _Read) -> bool:
    return _key(a.facts)[:2] == _key(b.facts)[:2]


def _input(read: _Read) -> tuple[RunInput, list[bytes]]:
    facts = read.facts
    files = int(facts.get("files", 0))
    each = len(read.files) == files > 0 and all(file.settled() is None for file in read.files.values())
    whole = read.all or each
    parts = [] if whole else _listed(read)
    counted = files if whole else len(read.files)
    size = int(facts.get("size_bytes", 0)) if each else sum(map(_bytes, read.files.values()))
    given = RunInput(
        role=str(facts.get("role") or "input"),
        ref=str(facts.get("ref", "")),
        dataset=facts["dataset"],
        version=facts["version"],
        tree=facts["tree"],
        repository=facts["repository"],
        url=str(facts.get("url", "")),
        number=int(facts.get("number", 0)),
        split=facts.get("split"),
        whole=whole,
        files=counted,
        bytes_read=size,
        reads=tuple([str(part_digest(part)) for part in parts]),
    )
    return given, parts


def _bytes(file: _File) -> int:
    ranges = file.settled()
    return file.size if ranges is None else sum(stop - start for start, stop in ranges)


def _listed(read: _Read) -> list[bytes]:
    """The files, one JSON array a line, in parts of `PART_BYTES_MAX`."""
    parts: list[bytes] = []
    lines: list[bytes] = []
    size = 0
    for path, file in sorted(read.files.items(), key=lambda item: item[0].encode("utf-8", "surrogateescape")):
        value = [path, file.digest, file.size, file.settled()]
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if len(line) > PART_BYTES_MAX:
            value[3] = None  # More ranges than anyone will look at: all of it, roughly.
            line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        if size + len(line) > PART_BYTES_MAX:
            parts.append(b"".join(lines))
            lines, size = [], 0
        lines.append(line)
        size += len(line)
    return [*parts, b"".join(lines)] if lines else parts
