"""The part of a card that people write: a file at the root of a version, with fields before its text.

The fields stand at its top, as TOML between two lines `+++` or as YAML between two lines `---`. Those
of `FIELDS` have a meaning and are counted; others are kept as they are.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from datetime import date, time
from math import isfinite
from typing import Any

from dataver.values import NamedTuple, dataclass

CARD_FILES = ("DATASET.md", "README.md")
CARD_BYTES_MAX = 1 << 20
FRONT_CHARACTERS_MAX = 1 << 16

_MARKS = {"+++": "TOML", "---": "YAML"}


class Field(NamedTuple):
    """A field that a card should have, what belongs into it, and what others call it."""

    name: str
    title: str
    hint: str
    aliases: tuple[str, ...] = ()


FIELDS = (
    Field("licence", "Licence", "as CC-BY-4.0", ("license", "sc:license")),
    Field("owner", "Owner", "who answers for the data", ("maintainer", "contact", "sc:creator")),
    Field("sensitivity", "Sensitivity", "public, internal, confidential …", ("classification",)),
    Field(
        "collection",
        "Collection",
        "how the data came about, and what for",
        ("collection_process", "rai:dataCollection"),
    ),
    Field(
        "preparation",
        "Preparation",
        "cleaning, labelling, aggregation",
        ("preprocessing", "rai:dataPreprocessingProtocol"),
    ),
    Field(
        "known_limits",
        "Known limits",
        "gaps, biases, assumptions",
        ("limitations", "known_limitations", "rai:dataLimitations"),
    ),
    Field(
        "intended_use",
        "Intended use",
        "what it is for, and what not",
        ("intended_uses", "use_cases", "rai:dataUseCases"),
    ),
    Field(
        "annotators",
        "Annotators",
        "who labelled, and how",
        ("annotations_creators", "rai:annotatorDemographics"),
    ),
    Field(
        "personal_data",
        "Personal data",
        "which, or none",
        ("personal_and_sensitive_information", "rai:personalSensitiveInformation"),
    ),
    Field(
        "update_mechanism",
        "Update mechanism",
        "when and how it is updated",
        ("maintenance", "rai:dataReleaseMaintenancePlan"),
    ),
    Field("retention", "Retention", "how long it is kept"),
)


@dataclass(frozen=True, slots=True)
class Written:
    """What people wrote: values are as JSON has them, in `fields` by the names of `FIELDS`, None for none.

    `problem` says why the fields could not be read; the text is there all the same.
    """

    file: str | None
    fields: Mapping[str, Any]
    other: Mapping[str, Any]
    text: str
    problem: str | None = None


NOTHING: Mapping[str, Any] = {field.name: None for field in FIELDS}


def read_written(file: str, data: bytes) -> Written:
    """What the file says. Never fails: whatever cannot be read is a `problem`."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return Written(file, NOTHING, {}, "", f"{file} is not UTF-8")
    kind, front, body = _divided(text)
    if not kind:
        return Written(file, NOTHING, {}, text)
    try:
        found = _parsed(kind, front)
        fields, other = _sorted(found)
    except _ProblemError as error:
        return Written(file, NOTHING, {}, body, f"the {kind} at the top of {file} {error}")
    return Written(file, fields, other, body)


class _ProblemError(Exception):
    """Why fields cannot be read."""


def _divided(text: str) -> tuple[str, str, str]:
    """The kind of what stands before the text, that, and the text; the kind is empty where nothing does."""
    mark, _, rest = text.partition("\n")
    kind = _MARKS.get(mark.rstrip())
    if kind is None:
        return "", "", text
    lines = rest.split("\n")
    end = next((number for number, line in enumerate(lines) if line.rstrip() == mark.rstrip()), None)
    if end is None:
        return "", "", text
    return kind, "\n".join(lines[:end]), "\n".join(lines[end + 1 :]).lstrip("\n")


def _parsed(kind: str, front: str) -> dict[str, Any]:
    if len(front) > FRONT_CHARACTERS_MAX:
        raise _ProblemError(f"has more than {FRONT_CHARACTERS_MAX} characters")
    try:
        found = tomllib.loads(front) if kind == "TOML" else _yaml(front)
        plain = _plain(found)
    except RecursionError:
        raise _ProblemError("is nested too deeply") from None
    except ValueError as error:
        raise _ProblemError(f"cannot be read: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(plain, dict):
        raise _ProblemError("is no table of fields")
    return plain


def _yaml(front: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise _ProblemError(
            "needs PyYAML: pip install 'dataver[card]', or write TOML between two lines +++"
        ) from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc] # PyYAML ships no types
        """Without aliases, by which a short text can stand for an endless one."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise _ProblemError("has an alias (*), which is not supported")
            return super().compose_node(parent, index)

    try:
        return yaml.load(front, Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except (TypeError, OverflowError, AttributeError) as error:
        # PyYAML's constructors trust tags such as !!int and !!timestamp.
        raise ValueError(f"a value is not what its tag says ({type(error).__name__})") from None


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, set):
        return sorted(str(_plain(entry)) for entry in value)
    return _plain(str(value))


def _sorted(found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that a card should have, and the others. Of two spellings of one the first name counts."""
    fields: dict[str, Any] = dict(NOTHING)
    other = dict(found)
    spellings: dict[str, list[str]] = {}
    for key in found:
        spellings.setdefault(_folded(key), []).append(key)
    for field in FIELDS:
        keys = [key for name in (field.name, *field.aliases) for key in spellings.get(_folded(name), ())]
        filled = [key for key in keys if is_filled(found[key])]
        if filled:
            fields[field.name] = other.pop(filled[0])
    empty = {_folded(name) for field in FIELDS for name in (field.name, *field.aliases)}
    return fields, {
        key: value for key, value in other.items() if is_filled(value) or _folded(key) not in empty
    }


def _folded(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def is_filled(value: Any) -> bool:
    """Whether a value says anything: 0 and false do, an empty text or list does not."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, dict | list):
        return any(map(is_filled, value.values() if isinstance(value, dict) else value))
    return value is not None


def value_text(value: Any) -> str:
    """A value for people: a list of texts with commas, tables as JSON."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and all(isinstance(entry, str | int | float) for entry in value):
        return ", ".join(value_text(entry) for entry in value)
    return json.dumps(value, ensure_ascii=False)


def template(name: str) -> str:
    """A card to fill in."""
    width = max(len(field.name) for field in FIELDS)
    lines = [f'{field.name:<{width}} = ""  # {field.hint}' for field in FIELDS]
    return "\n".join(
        [
            "+++",
            "# Fill in what you know, and leave empty what you do not; add fields of your own.",
            *lines,
            "+++",
            "",
            f"# {name}",
            "",
            "What the data are, what a row or file is, and what they were made for.",
            "",
        ]
    )
