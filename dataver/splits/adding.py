"""Definitions written down: as a table of TOML, into the file that is committed with the data."""

from __future__ import annotations

from typing import Any

from dataver.errors import AlreadyExistsError, BadInputError, PathNotFoundError
from dataver.pins import quoted
from dataver.replacing import replacing
from dataver.splits.definition import Split, check_name, load

FILE_BYTES_MAX = 8 << 20


def add_definition(path: str, name: str, definition: Split) -> None:
    """Append a definition to a file of them, which is made where there is none; what is there stays as it is.

    `AlreadyExistsError` where another definition has the name; the same one changes nothing.
    """
    before = _read(path)
    known = load(before, path) if before.strip() else {}
    if "" in known:
        raise BadInputError(f"{path} has one definition without a name; give it one: a table [NAME] above it")
    if known.get(check_name(name)) == definition:
        return
    if name in known:
        raise AlreadyExistsError(
            f"{path} defines {name!r} otherwise; rows would move between its parts. Choose another name, or "
            "change it there"
        )
    text = before.decode()
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    data = (text + gap + definition_text(name, definition)).encode()
    assert load(data, path)[name] == definition
    with replacing(path) as file:
        file.write(data)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise PathNotFoundError(f"the definitions {path} cannot be read: {error.strerror}") from error
    if len(data) > FILE_BYTES_MAX:
        raise BadInputError(f"the definitions {path} have more than {FILE_BYTES_MAX >> 20} MiB")
    return data


def definition_text(name: str, definition: Split) -> str:
    """A definition as a table of TOML; what need not be said is left out."""
    document = definition.to_document()
    unsaid = {"format": document["format"], "path": "", "salt": "", "rest": None}
    fields = {key: value for key, value in document.items() if key not in unsaid or unsaid[key] != value}
    lines = [
        f"[{_key(name)}]",
        *(f"{key} = {_value(value)}" for key, value in fields.items() if key != "parts"),
    ]
    if document["parts"]:
        lines += ["", f"[{_key(name)}.parts]"]
        lines += [f"{_key(part)} = {_value(value)}" for part, value in document["parts"].items()]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return quoted(name) if "." in name else name


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return quoted(value) if isinstance(value, str) else repr(value)
