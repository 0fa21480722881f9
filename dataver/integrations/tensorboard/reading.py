"""Reading event files: the records in ours, and the hyperparameters in those of others.

Checksums are not looked at: TensorBoard's own code takes a second for a megabyte, a record of ours is
compared by its digest, and of others' files two fields are taken.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

from tensorboard.compat.proto import event_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata

from dataver.errors import DamagedError
from dataver.format.run_record import RunRecord, decode_run
from dataver.integrations.tensorboard.facts import Value
from dataver.integrations.tensorboard.folders import OwnFile
from dataver.paths import safe_spelling

__all__ = ["hparams_of", "records_of"]

EVENT_BYTES_MAX = 4 << 20
"""Longer ones are images and sounds."""
EVENTS_MAX = 10_000
"""So many events of a user's file are looked at; hyperparameters are written before the training."""
_HEAD, _TAIL_BYTES = struct.Struct("<QI"), 4


def records_of(file: OwnFile) -> list[RunRecord]:
    """The records of our file: of start, and of the end where there is one. `DamagedError` for another's."""
    records = []
    for data in _events(file.path):
        for value in _values(data, f"dataver/run/{file.run}/".encode()):
            record = decode_run(value.metadata.plugin_data.content, safe_spelling(file.path))
            if record.run != file.run:
                raise DamagedError(f"{safe_spelling(file.path)} has the record of run {record.run}")
            records.append(record)
    if not records:
        raise DamagedError(f"{safe_spelling(file.path)} has no record of a run; copy the file again")
    return records


def hparams_of(path: str) -> dict[str, Value]:
    """The hyperparameters in an event file; none where it cannot be understood."""
    wanted = hparams_metadata.SESSION_START_INFO_TAG.encode()
    for number, data in enumerate(_events(path)):
        if number == EVENTS_MAX:
            break
        for value in _values(data, wanted):
            try:
                content = value.metadata.plugin_data.content
                given = hparams_metadata.parse_session_start_info_plugin_data(content).hparams
            except (hparams_metadata.error.HParamsError, ValueError):
                return {}
            return {name: _plain(given[name]) for name in given if given[name].WhichOneof("kind")}
    return {}


def _plain(value: Any) -> Value:
    found: Value = getattr(value, value.WhichOneof("kind"))
    return found


def _values(data: bytes, tag: bytes) -> Iterator[Any]:
    """The values in an event whose tags begin so."""
    from google.protobuf.message import DecodeError

    if tag in data:
        try:
            event = event_pb2.Event.FromString(data)
        except DecodeError:
            return
        yield from (value for value in event.summary.value if value.tag.encode().startswith(tag))


def _events(path: str) -> Iterator[bytes]:
    """The events of a file as bytes, as far as they are whole; long ones are left out."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        place = 0
        while True:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            length, _ = _HEAD.unpack(head)
            place += _HEAD.size + length + _TAIL_BYTES
            if place > size:
                return
            if length <= EVENT_BYTES_MAX:
                yield file.read(length)
            file.seek(place)
