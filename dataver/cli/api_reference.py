"""The page `docs/reference/api.md`, made from the code: `python -m dataver.cli.api_reference` prints it.

A test compares the file with what this prints.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable
from typing import Any

import dataver
from dataver import results, serving, tables
from dataver.cards.card import Card
from dataver.erasure import EraseReport
from dataver.format.provenance import DerivedFrom, Source
from dataver.fs import DataverFileSystem
from dataver.gc.prune import PruneReport, Retention
from dataver.gc.report import GcReport, LostVersion
from dataver.gc.roots import Kept
from dataver.lineage.audit import AuditReport
from dataver.lineage.graph import Lineage
from dataver.lineage.listing import ModelInfo, RunInfo
from dataver.lineage.who_used import WhoUsed
from dataver.loading import columns
from dataver.loading.options import RowOptions, StreamOptions
from dataver.loading.rows import TorchRows
from dataver.loading.stream import TorchStream
from dataver.origins import Origins
from dataver.parts import SplitView
from dataver.progress import Progress
from dataver.serving import Capture, Counts
from dataver.serving.committing import Served
from dataver.settings import Setting, SettingResult, Settings
from dataver.signatures import SignatureReport, Signatures, Signed
from dataver.signing.check import SignatureInfo
from dataver.signing.public import PublicKey
from dataver.signing.trust import TrustedKey
from dataver.splits import definition
from dataver.tables.changes import ColumnMove, TableChange
from dataver.tables.drift import (
    CategoryChange,
    ColumnDrift,
    ColumnSide,
    DriftReport,
    DriftSide,
    SchemaChange,
)
from dataver.tables.measures import Measure
from dataver.tables.view import TableColumn, TableStatistics
from dataver.tables.writer import ParquetWritten
from dataver.verify.copy_report import ChangedFile, CopyReport

# A signature that is longer gets a line for each parameter.
WIDTH = 98

INTRODUCTION = """\
# Python

<!-- Made from the code by `python -m dataver.cli.api_reference > docs/reference/api.md`: change it there. -->

`import dataver` costs nothing: everything behind it is imported at its first use. What raises is one of the
classes in [errors](errors.md). A `ref` is `DATASET@SELECTOR`, as [the glossary](glossary.md) has it.
A `Time` is a `datetime` or a text in RFC 3339; one without a zone is UTC.
A `Place` is a path or a URL as text, or a path object.
"""

# Members without an underscore that serve dataver's own layers.
INTERNAL = {"tree_of_files", "entry", "objects", "dataset_of", "reads", "asked_as", "wanted"}


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## Functions of `dataver`\n"]
    names = ("init", "open", "resolve", "run", "write_parquet")
    parts += [called(f"dataver.{name}", getattr(dataver, name)) for name in names]
    for cls in (dataver.Repository, dataver.Version):
        parts += [f"## {cls.__name__}\n", text(cls), *members(cls)]
    parts += ["## Run\n", text(dataver.Run), *members(dataver.Run)]
    parts += ["## Runs and lineage\n"]
    for told in (RunInfo, ModelInfo, Lineage, WhoUsed, AuditReport):
        parts += [f"### {told.__name__}\n", fields(told), text(told)]
    parts += ["## Settings\n", text(Settings), *members(Settings)]
    for found in (Setting, SettingResult):
        parts += [f"### {found.__name__}\n", fields(found), text(found)]
    parts += ["## Collection\n"]
    for report in (GcReport, LostVersion, Kept, Retention, PruneReport, EraseReport):
        parts += [f"### {report.__name__}\n", fields(report), text(report)]
    parts += ["## Where data came from\n"]
    for value in (Source, DerivedFrom, Origins, Card):
        parts += [f"### {value.__name__}\n", fields(value), text(value)]
    parts += ["## Splits\n", text(definition)]
    for split in definition.KINDS.values():
        parts += [called(f"dataver.{split.__name__}", split), *members(split)]
    parts += ["## SplitView\n", text(SplitView), *members(SplitView)]
    parts += ["## Signatures\n", text(Signatures), *members(Signatures)]
    for signed in (Signed, SignatureReport, SignatureInfo, TrustedKey, PublicKey):
        parts += [f"### {signed.__name__}\n", fields(signed), text(signed)]
        parts += [member.replace("### ", "#### ", 1) for member in members(signed)]
    parts += ["## PyTorch\n", text(columns)]
    parts += [f"### {options.__name__}\n\n{text(options)}" for options in (RowOptions, StreamOptions)]
    for data in (TorchRows, TorchStream):
        parts += [f"### {data.__name__}\n\n{text(data)}"]
        parts += [part.replace("### ", "#### ", 1) for part in members(data)]
    parts += [
        "## Results\n",
        text(results),
        "Each is a frozen dataclass with `to_json()`, its document on the command line.\n",
    ]
    for name in results.__all__:
        value = getattr(results, name)
        if isinstance(value, type) and dataclasses.is_dataclass(value):
            parts += [f"### {name}\n", fields(value), text(value)]
    for compared in (CopyReport, ChangedFile):
        parts += [f"### {compared.__name__}\n", fields(compared), text(compared)]
    parts += ["## Tables\n", text(tables)]
    for table in (TableStatistics, TableColumn, TableChange, ColumnMove, ParquetWritten):
        parts += [f"### {table.__name__}\n", fields(table), text(table)]
        parts += [part.replace("### ", "#### ", 1) for part in members(table)]
    parts += ["## Drift\n", text(tables.drift)]
    for part in (DriftReport, DriftSide, SchemaChange, ColumnDrift, ColumnSide, CategoryChange, Measure):
        parts += [f"### {part.__name__}\n", fields(part), text(part)]
        parts += [member.replace("### ", "#### ", 1) for member in members(part)]
    parts += ["## A model in production\n", text(serving), f"### Capture\n\n{text(Capture)}"]
    parts += [called("dataver.serving.Capture", Capture.__init__).replace("-> None", "-> Capture")]
    parts += members(Capture)
    for counted in (Counts, Served):
        parts += [f"### {counted.__name__}\n", fields(counted), text(counted)]
    parts += ["## Progress\n", text(Progress), *members(Progress)]
    parts += ["## The fsspec protocol `dataver`\n", text(DataverFileSystem)]
    return "\n".join(parts).rstrip("\n") + "\n"


def members(cls: type) -> list[str]:
    """The public methods and properties of a class and its bases, in the order in which they stand there."""
    found = []
    own = [item for home in cls.__mro__[:-1] for item in vars(home).items()]
    for name, member in own:
        if name.startswith("_") or name in INTERNAL:
            continue
        if isinstance(member, property):
            result = inspect.signature(member.fget).return_annotation if member.fget else ""
            found.append(f"### {cls.__name__}.{name}\n\n{fenced(f'{name}: {result}')}\n{text(member)}")
        elif inspect.isfunction(member):
            found.append(called(f"{cls.__name__}.{name}", member))
    return found


def called(title: str, function: Callable[..., Any]) -> str:
    """A function under its heading: how it is called, and what it promises."""
    return f"### {title}\n\n{fenced(signature(title.rpartition('.')[2], function))}\n{text(function)}"


def signature(name: str, function: Callable[..., Any]) -> str:
    """How a function is called, on one line where it fits."""
    whole = inspect.signature(function)
    parameters = []
    keywords_only = False
    for parameter in whole.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords_only:
            keywords_only = True
            parameters.append("*")
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        parameters.append(f"{stars}{parameter.name}: {parameter.annotation}{default}")
    result = f" -> {whole.return_annotation}"
    line = f"{name}({', '.join(parameters)}){result}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {parameter}," for parameter in parameters), f"){result}"])


def fields(cls: type) -> str:
    """The fields of a dataclass, each with its type."""
    return fenced("\n".join(f"{field.name}: {field.type}" for field in dataclasses.fields(cls)))


def fenced(code: str) -> str:
    """A block of Python."""
    return f"```python\n{code}\n```\n"


def text(value: object) -> str:
    """The docstring as it stands."""
    return f"{inspect.getdoc(value)}\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(reference())
