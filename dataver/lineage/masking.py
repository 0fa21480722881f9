"""Keeping secrets out of what is recorded: found by the names they go by, and by what they look like.

What looks like a secret is replaced by `***`. Rather one word too many than one too few.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

__all__ = [
    "MASK",
    "is_secret_name",
    "mask_command",
    "mask_listing",
    "mask_record",
    "mask_source",
    "mask_text",
    "mask_value",
]

MASK = "***"
VALUE_CHARACTERS_MIN = 6
"""The value of a variable with a secret's name is looked for everywhere, if it is so long."""

_ANYWHERE = (
    r"passw(?:or)?d|passwd|passphrase|passcode|secret|credential|api[-_ ]?key|apikey|access[-_ ]?key|"
    r"account[-_ ]?key|private[-_ ]?key|shared[-_ ]?key|storage[-_ ]?key|signing[-_ ]?key|"
    r"(?:aws|azure|client|deploy|encryption|host|hf|license|master|openai|sas|service|ssh|subscription|wandb)"
    r"[-_ ]?key|connection[-_ ]?string|auth[-_ ]?key|authorization|bearer|x-ms-|jwt"
)
_WORDS = frozenset(
    ("pwd", "pass", "token", "tokens", "sas", "sig", "signature", "pat", "auth", "cookie", "key64")
)
_NOT_SECRET = frozenset(("max", "min", "num", "n", "count", "tokens", "total", "limit", "length", "dim"))
_PLACES = ("PWD", "OLDPWD")
_SECRET_ANYWHERE = re.compile(_ANYWHERE, re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")

_WORD = r"(?<![A-Za-z])(?:pwd|pass|token|sas|sig|signature|pat|auth|cookie)(?![a-z])"
_NAME = rf"[\w.-]*(?:{_ANYWHERE}|{_WORD})[\w.-]*"
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_USER_IN_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*://)(?!git@)([^/\s?#'\"]+)@")
_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bxox[abeoprs]-[\w-]{10,}|\bsk-[\w-]{16,}|\bhf_[A-Za-z0-9]{16,}|\bAIza[\w-]{30,}|\bpypi-[\w-]{30,}"
    r"|\bdapi[0-9a-f]{30,}|\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
)
_BEARER = re.compile(r"\b(Bearer|Basic|Token)(\s+)([A-Za-z0-9+/=._~-]{8,})", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"""((?<![\w]){_NAME}["']?\]?\s*(?:=>|:=|[=:](?![=:]))\s*)("[^"\n]*"|'[^'\n]*'|[^\s&;,"'`)\]}}]+)""",
    re.IGNORECASE,
)
_OPTION = re.compile(rf"""((?<![\w-])--?{_NAME}\s+)("[^"\n]*"|'[^'\n]*'|[^\s-][^\s]*)""", re.IGNORECASE)
_BRACKETED = re.compile(rf"""((?<![\w]){_NAME}["']?\]?\s*[=:]\s*[({{\[])([^)}}\]\n]*)""", re.IGNORECASE)
_DEFAULT = re.compile(
    rf"""(\b(?:environ|env|get\w*|set\w*)\(\s*["']{_NAME}["']\s*,\s*)("[^"\n]*"|'[^'\n]*')""", re.IGNORECASE
)
_LITERAL = re.compile(r"""("[^"\n]*"|'[^'\n]*')(?!\s*:)""")
_QUOTED = re.compile(r"""[bru]{0,2}(["']).*\1""", re.IGNORECASE)
_CODE = re.compile(
    r"(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|None|True|False|null|true|false|str|bytes|int|float|bool|Any|object"
    r"|[A-Za-z_][\w.]*[(\[{].*|[({\[<*&$].*|[-+*/=].*)"
)

_NEVER_SECRET = frozenset((
    "amends", "commit", "dataset", "digest", "metrics", "packages", "parent", "patch", "process", "reads",
    "repository", "run", "seeds", "split", "status", "tree", "version",
))  # fmt: skip
"""Fields of a record that hold digests, numbers, or what is versioned anyway."""

_Record = TypeVar("_Record")


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is likely a secret: `db_password`, `apiKey`, `AZURE_STORAGE_SAS`."""
    if _SECRET_ANYWHERE.search(name):
        return True
    words = [word.lower() for word in _CAMEL.split(name) if word]
    if not _WORDS.intersection(words):
        return False
    return not _NOT_SECRET.intersection(words)


def secret_values() -> list[str]:
    """The values of variables of the environment whose names are those of secrets, the longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if is_secret_name(name)
        and name not in _PLACES
        and not (os.path.isabs(value) and os.path.exists(value))
    }
    return sorted((value for value in found if len(value) >= VALUE_CHARACTERS_MIN), key=len, reverse=True)


def mask_text(text: str, known: Sequence[str] | None = None) -> str:
    """A text without what looks like a secret, and without the `known` ones: those of the environment."""
    for value in secret_values() if known is None else known:
        text = text.replace(value, MASK)
    text = _mask_shapes(text)
    text = _ASSIGNED.sub(lambda found: found[1] + MASK, text)
    return _OPTION.sub(lambda found: found[1] + MASK, text)


def mask_source(text: str) -> str:
    """As `mask_text`, of source code: what is assigned to such a name stays where it is code and no value."""
    for value in secret_values():
        text = text.replace(value, MASK)
    text = _mask_shapes(text)
    return _ASSIGNED.sub(_assigned_in_source, text)


def mask_listing(text: str) -> str:
    """As `mask_text`, of names and numbers of releases: what looks like a secret, whatever it goes by."""
    for value in secret_values():
        text = text.replace(value, MASK)
    return _mask_shapes(text)


def _mask_shapes(text: str) -> str:
    text = _PRIVATE_KEY.sub(MASK, text)
    text = _BRACKETED.sub(lambda found: found[1] + _LITERAL.sub(f'"{MASK}"', found[2]), text)
    text = _DEFAULT.sub(rf'\1"{MASK}"', text)
    text = _USER_IN_URL.sub(rf"\1{MASK}@", text)
    text = _BEARER.sub(rf"\1\2{MASK}", text)
    return _KNOWN.sub(MASK, text)


def _assigned_in_source(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    if _QUOTED.fullmatch(value):
        return found[0] if len(value.strip("bruBRU\"'")) == 0 else f"{name}{value[0]}{MASK}{value[-1]}"
    if _CODE.fullmatch(value) or value.lower() in name.lower():
        return found[0]
    return name + MASK


def mask_command(command: Sequence[str]) -> tuple[str, ...]:
    """The arguments of a command; also what follows an option with a secret's name."""
    known = secret_values()
    masked: list[str] = []
    hide = False
    for argument in command:
        hidden = hide and not argument.startswith("--")
        masked.append(MASK if hidden else mask_text(argument, known))
        hide = argument.startswith("-") and "=" not in argument and is_secret_name(argument.lstrip("-"))
    return tuple(masked)


def mask_value(value: Any, known: Sequence[str], name: str = "") -> Any:
    """A value as JSON has it; what goes by a secret's name is masked, be it a number."""
    if isinstance(value, Mapping):
        secret = bool(name) and is_secret_name(name)
        return {
            mask_text(key, known): mask_value(inner, known, name if secret else key)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [mask_value(inner, known, name) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return MASK if name and is_secret_name(name) else mask_text(value, known)
    # `token_dim=128` is no secret; `password=128` is.
    return MASK if name and _SECRET_ANYWHERE.search(name) else value


def mask_record(record: _Record, known: Sequence[str] | None = None) -> _Record:
    """A record, or a part of one, in which every text and every mapping is masked."""
    known = secret_values() if known is None else known
    changes: dict[str, Any] = {}
    for entry in dataclasses.fields(record):  # type: ignore[arg-type] # records are dataclasses
        if entry.name in _NEVER_SECRET:
            continue
        value = getattr(record, entry.name)
        masked = _masked_field(value, known)
        if masked != value:
            changes[entry.name] = masked
    return dataclasses.replace(record, **changes) if changes else record  # type: ignore[type-var]


def _masked_field(value: Any, known: Sequence[str]) -> Any:
    if dataclasses.is_dataclass(value):
        return mask_record(value, known)
    if isinstance(value, tuple):
        return tuple([_masked_field(inner, known) for inner in value])
    if isinstance(value, Mapping):
        return mask_value(value, known)
    return mask_text(value, known) if isinstance(value, str) else value
