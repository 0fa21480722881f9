"""The event file of a run: what it has in which order, and how it grows.

It begins with the record of the run's start, and the inputs that are known when the folder is named. At
the end the rest is appended: TensorBoard shows that of a file which it has open. Where more was read in
between, the file is replaced, as of a tag the first value counts; TensorBoard shows that when it is
started anew.

Three kinds of things are in it, each under tags of its own: the run's hyperparameters, with the versions
that it read, and its status; a table of them as a text; and the canonical bytes of the records.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer.record_writer import RecordWriter

from dataver.format.run_record import RunRecord
from dataver.integrations.tensorboard.facts import Value, hyperparameters, table
from dataver.integrations.tensorboard.folders import other_files, own_file
from dataver.integrations.tensorboard.reading import hparams_of

__all__ = ["PLUGIN", "begin", "finish", "record_tag"]

PLUGIN = "dataver"
FILE_VERSION = "brain.Event:2"
INPUTS_TAG = "dataver/inputs"
METRICS = "dataver/"
"""Before the names of metrics, so that they are not mixed with those of the user's own event files."""
_STATUS = {
    "done": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
    "cancelled": api_pb2.STATUS_FAILURE,
}


def record_tag(run: str, status: str) -> str:
    """The tag of a record: that of the start and that of the end have two."""
    return f"dataver/run/{run}/{'start' if status == 'running' else 'end'}"


def begin(folder: str, start: RunRecord, known: RunRecord) -> None:
    """Write the file of a run that is on; `known` is the record of its start with what is known by now."""
    os.makedirs(folder, exist_ok=True)
    _put(folder, start.run, _beginning(start) + _known(known, _hparams(folder, known)))


def finish(folder: str, start: RunRecord, end: RunRecord) -> None:
    """Bring the file of a run to its end."""
    os.makedirs(folder, exist_ok=True)
    hparams = _hparams(folder, end)
    first, known = _beginning(start), _known(replace(start, inputs=end.inputs), hparams)
    if _there(own_file(folder, end.run).path) == first + known:
        first, hparams = first + known, {}
    _put(folder, end.run, first + _ending(end, hparams))


def _hparams(folder: str, record: RunRecord) -> dict[str, Value]:
    """Those of the run, after those that the user's own files have: of two files with them one counts."""
    theirs: dict[str, Value] = {}
    for path in other_files(folder):
        theirs |= hparams_of(path)
    return {**theirs, **hyperparameters(record.inputs, record.params)}


def _put(folder: str, run: str, content: bytes) -> None:
    """Have the file hold this: what is there stays as far as it is the beginning of it."""
    path = own_file(folder, run).path
    there = _there(path)
    if there and content.startswith(there):
        with open(path, "ab") as grown:
            grown.write(content[len(there) :])
        return
    # Not named as event files are, which TensorBoard would read.
    part = os.path.join(folder, f".dataver-{os.urandom(8).hex()}.part")
    try:
        with open(part, "xb") as new:
            new.write(content)
        os.replace(part, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)


def _there(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


# What is in it


def _beginning(start: RunRecord) -> bytes:
    when = start.started_us / 1e6
    version = event_pb2.Event(wall_time=when, file_version=FILE_VERSION)
    return _events([version, _event(when, 0, _record(start))])


def _known(record: RunRecord, hparams: Mapping[str, Value]) -> bytes:
    """What a run has read that is on. Nothing before it has read anything: of each tag the first counts."""
    if not record.inputs:
        return b""
    when = record.started_us / 1e6
    return _events([_event(when, 0, _session(record, hparams)), _event(when, 0, _table(record))])


def _ending(end: RunRecord, hparams: Mapping[str, Value]) -> bytes:
    when = (end.ended_us or end.started_us) / 1e6
    status = plugin_data_pb2.SessionEndInfo(status=_STATUS[end.status], end_time_secs=when)
    told = plugin_data_pb2.HParamsPluginData(session_end_info=status)
    values = [
        *([_session(end, hparams)] if hparams else []),
        _record(end),
        _table(end),
        *_metrics(end.metrics),
        _value(hparams_metadata.SESSION_END_INFO_TAG, hparams_metadata.create_summary_metadata(told)),
    ]
    return _events([_event(when, 1, value) for value in values])


def _session(record: RunRecord, hparams: Mapping[str, Value]) -> Any:
    summary = hparams_pb(dict(hparams), trial_id=record.run, start_time_secs=record.started_us / 1e6)
    return summary.value[0]


def _metrics(metrics: Mapping[str, Any]) -> Iterator[Any]:
    for name, value in metrics.items():
        metadata = scalar_metadata.create_summary_metadata(name, "Logged by the run.")
        tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[float(value)])
        yield _value(METRICS + name, metadata, tensor)


def _table(record: RunRecord) -> Any:
    text = table(record.name, record.run, record.status, record.inputs)
    metadata = text_metadata.create_summary_metadata("what the run read", "")
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[text.encode()])
    return _value(INPUTS_TAG, metadata, tensor)


def _record(record: RunRecord) -> Any:
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN, content=record.encode())
    metadata = summary_pb2.SummaryMetadata(plugin_data=plugin, data_class=summary_pb2.DATA_CLASS_TENSOR)
    return _value(record_tag(record.run, record.status), metadata)


def _value(tag: str, metadata: Any, tensor: Any = None) -> Any:
    given = hparams_metadata.NULL_TENSOR if tensor is None else tensor
    return summary_pb2.Summary.Value(tag=tag, metadata=metadata, tensor=given)


def _event(when: float, step: int, value: Any) -> Any:
    return event_pb2.Event(wall_time=when, step=step, summary=summary_pb2.Summary(value=[value]))


def _events(events: list[Any]) -> bytes:
    into = io.BytesIO()
    writer = RecordWriter(into)
    for event in events:
        writer.write(event.SerializeToString())
    return into.getvalue()
