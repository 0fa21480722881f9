"""What goes into a run's record, and how it is made to fit."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import replace
from typing import Any

from dataver.errors import BadInputError
from dataver.format.run_record import RunRecord
from dataver.lineage.plain import plain_value

__all__ = ["fitting", "log_folder", "metric", "own_command"]


def own_command() -> list[str]:
    """How this process was started."""
    return list(getattr(sys, "orig_argv", None) or sys.argv)


def metric(name: str, value: Any) -> float | str:
    """A number, or `nan`, `inf` or `-inf`. `BadInputError` for anything else."""
    number: float | str = plain_value(name, value)
    if isinstance(number, bool) or not (isinstance(number, int | float) or number in ("nan", "inf", "-inf")):
        raise BadInputError(f"the metric {name!a:.100} is {value!a:.100}, which is no number")
    return number


def fitting(record: RunRecord) -> RunRecord:
    """The record, without what makes it too long: better one with less than none."""
    try:
        record.encode()
    except BadInputError as error:
        warnings.warn(f"{error}; the files of models, and then parameters, are left out", stacklevel=4)
    else:
        return record
    models = tuple([replace(model, files=()) for model in record.models])
    shorter = replace(record, models=models)
    try:
        shorter.encode()
    except BadInputError:
        return replace(shorter, params={}, command=(), reason=record.reason[:1000])
    return shorter


def log_folder(folder: str | os.PathLike[str]) -> str:
    """Where TensorBoard's log folder is, absolute; empty, with a warning, for a URL."""
    place = os.fspath(folder)
    if "://" in place:
        warnings.warn(f"{place[:300]!a} is no folder of this machine: no event file is there", stacklevel=3)
        return ""
    return os.path.abspath(place)
