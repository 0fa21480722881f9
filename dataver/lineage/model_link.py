"""The link from a model's files to its run and data, kept with the files: so a copy of them can be audited.

It is the file `dataver.json` in a model's folder, or `FILE.dataver.json` beside a model that is one
file, or the same object under `metadata: dataver:` in the file `MLmodel` that MLflow writes:

    {"dataver": 1, "model": NAME or NAME@vN, "run": 32 hex digits, "repository": {"id", "url"},
     "inputs": [{"role", "ref", "dataset", "version": id, "tree", "split", "repository": {"id", "url"}}…]}

`repository` of an input is there where it is another one than the run's. Whoever reads it trusts none
of it: it is compared with the record.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from dataver.errors import BadInputError, DataverError, PathNotFoundError
from dataver.format.run_record import RunRecord
from dataver.lineage.nodes import ClaimedInput
from dataver.lineage.small_yaml import parse_block
from dataver.log.run_state import ModelState
from dataver.paths import safe_spelling
from dataver.replacing import replacing
from dataver.values import dataclass

__all__ = [
    "LINK_FILE",
    "LINK_SUFFIX",
    "ModelLink",
    "has_link",
    "link_document",
    "link_models",
    "read_link",
    "write_link",
]

LINK_FILE, LINK_SUFFIX = "dataver.json", ".dataver.json"
MLMODEL = "MLmodel"
LINK_VERSION = 1
LINK_BYTES_MAX = 8 << 20
# PyYAML's constructors trust tags such as !!int and !!timestamp.
_CONSTRUCTOR_FAULTS = RecursionError, ValueError, TypeError, OverflowError, AttributeError
_RUN = re.compile(r"[0-9a-f]{32}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ModelLink:
    """What the files say of themselves. `origin` is the file that says it; what it does not say is empty."""

    origin: str
    run: str = ""
    model: str = ""
    repository: str = ""
    url: str = ""
    inputs: tuple[ClaimedInput, ...] = ()


def link_document(record: RunRecord, repository: str, url: str, model: str = "") -> dict[str, Any]:
    """What is to be kept with a model that a run of this repository made."""
    inputs = []
    for given in record.inputs:
        entry: dict[str, Any] = {
            "role": given.role,
            "ref": given.ref,
            "dataset": given.dataset,
            "version": given.version,
            "tree": given.tree,
        }
        if given.split is not None:
            entry["split"] = dict(given.split)
        if given.repository != repository:
            entry["repository"] = {"id": given.repository, "url": given.url}
        inputs.append(entry)
    return {
        "dataver": LINK_VERSION,
        "model": model,
        "run": record.run,
        "repository": {"id": repository, "url": url},
        "inputs": inputs,
    }


def link_models(
    record: RunRecord, place: tuple[str, str], made: Sequence[ModelState], paths: Mapping[int, str]
) -> None:
    """Write the links of models that a run has made, by their positions in its record.

    `place` are the URL and the id of the repository that has the record, `made` its models as they are
    numbered there, none where the record waits. One that cannot be written is a warning.
    """
    url, repository = place
    numbered = {model.name: iter([one for one in made if one.name == model.name]) for model in record.models}
    for position, model in enumerate(record.models):
        known = next(numbered[model.name], None)
        path = paths.get(position)
        if path is None:
            continue
        document = link_document(record, repository, url, model.name if known is None else str(known))
        try:
            write_link(path, document)
        except (DataverError, OSError) as error:
            warnings.warn(f"{safe_spelling(path)} does not say which run made it: {error}", stacklevel=4)


def write_link(path: str | os.PathLike[str], document: Mapping[str, Any]) -> str:
    """Write the link into a model's folder, or beside a model that is a file; where it is then."""
    place = os.fspath(path)
    target = os.path.join(place, LINK_FILE) if os.path.isdir(place) else place + LINK_SUFFIX
    with replacing(target) as file:
        file.write(json.dumps(document, indent=1, ensure_ascii=True).encode() + b"\n")
    return target


def has_link(folder: str) -> bool:
    """Whether files of a folder say what they are of, understood or not."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in (LINK_FILE, MLMODEL))


def read_link(path: str | os.PathLike[str]) -> ModelLink | None:
    """What the files at a path say of themselves; None where they say nothing.

    `BadInputError` for a file that is there and cannot be understood.
    """
    place = os.fspath(path)
    folder = os.path.isdir(place)
    own = os.path.join(place, LINK_FILE) if folder else place + LINK_SUFFIX
    if os.path.isfile(own):
        return _link(own, _json(own))
    mlmodel = os.path.join(place if folder else os.path.dirname(place), MLMODEL)
    if os.path.isfile(mlmodel):
        found = _yaml(mlmodel)
        if found is not None:
            return _link(mlmodel, found)
    return None


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(LINK_BYTES_MAX + 1)
    except OSError as error:
        raise PathNotFoundError(f"{safe_spelling(path)!r} cannot be read: {error.strerror}") from error
    if len(data) > LINK_BYTES_MAX:
        raise BadInputError(f"{safe_spelling(path)!r} has more than {LINK_BYTES_MAX >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInputError(f"{safe_spelling(path)!r} is no text: {error}") from None


def _json(path: str) -> Any:
    try:
        return json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{safe_spelling(path)!r} is no JSON: {error}") from None


def _yaml(path: str) -> Any:
    """The object under `metadata: dataver:`, None where there is none."""
    text = _read(path)
    try:
        import yaml
    except ImportError:
        metadata = parse_block(text, "metadata", safe_spelling(path))
    else:
        try:
            document = yaml.safe_load(text)
        except (
            yaml.YAMLError,
            RecursionError,
            ValueError,
            TypeError,
            OverflowError,
            AttributeError,
        ) as error:
            # The last three: PyYAML's constructors trust tags such as !!int and !!timestamp.
            raise BadInputError(f"{safe_spelling(path)!r} is no YAML: {error}") from None
        metadata = document.get("metadata") if isinstance(document, dict) else None
    return metadata.get("dataver") if isinstance(metadata, dict) else None


def _link(path: str, document: Any) -> ModelLink:
    if not isinstance(document, dict):
        raise BadInputError(f"{safe_spelling(path)!r} has something else than a link to a run")
    version = document.get("dataver", LINK_VERSION)
    if version != LINK_VERSION:
        raise BadInputError(
            f"{safe_spelling(path)!r} is a link of version {version!r:.20}; this release reads {LINK_VERSION}"
        )
    run, model = _text(document, "run"), _text(document, "model")
    if run and not _RUN.fullmatch(run):
        raise BadInputError(f"{safe_spelling(path)!r} names the run {run[:60]!a}, which is no id")
    repository, url = _repository(document)
    entries = document.get("inputs")
    inputs = [_input(path, entry) for entry in entries] if isinstance(entries, list) else []
    return ModelLink(path, run, model, repository, url, tuple(inputs))


def _input(path: str, entry: Any) -> ClaimedInput:
    if not isinstance(entry, dict) or not _ID.fullmatch(_text(entry, "version")):
        raise BadInputError(f"{safe_spelling(path)!r} has an input without the id of a version")
    split = entry.get("split")
    repository, url = _repository(entry)
    return ClaimedInput(
        _text(entry, "version"), _text(entry, "role"), _text(entry, "ref"), _text(entry, "dataset"),
        _text(entry, "tree"), repository, url, split if isinstance(split, dict) else None,
    )  # fmt: skip


def _repository(document: Mapping[str, Any]) -> tuple[str, str]:
    found = document.get("repository")
    return (_text(found, "id"), _text(found, "url")) if isinstance(found, dict) else ("", "")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""
