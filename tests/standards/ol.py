"""OpenLineage's own classes as a check: every field of an event is theirs, and of the type that they say."""

from __future__ import annotations

import enum
import importlib
import json
import pkgutil
import types
import typing
from importlib.resources import files
from typing import Any

import attr
import jsonschema
from openlineage.client import event_v2
from openlineage.client import generated as generated_package


def _classes() -> dict[str, type]:
    """All facets, by the URL of their schemas."""
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(generated_package.__path__):
        for value in vars(importlib.import_module(f"openlineage.client.generated.{module.name}")).values():
            if isinstance(value, type) and attr.has(value) and hasattr(value, "_get_schema"):
                found[value._get_schema()] = value
    return found


CLASSES = _classes()
OWN = json.loads(files("dataver.exports").joinpath("openlineage-facets.json").read_text())


def check(event: Any) -> None:
    """Raise where an event is not as the standard has it."""
    cls: type = event_v2.DatasetEvent if "dataset" in event else event_v2.RunEvent
    assert event["schemaURL"] == cls._get_schema()  # type: ignore[attr-defined]
    _object(cls, event, "event")


def _object(cls: type, value: Any, where: str) -> None:
    """The fields are those of the class, required ones are there, and what it checks itself it accepts."""
    assert isinstance(value, dict), where
    hints = typing.get_type_hints(cls, vars(typing) | vars(importlib.import_module(cls.__module__)))
    fields = {field.name: field for field in attr.fields(cls)}
    assert set(value) <= set(fields), (where, set(value) - set(fields))
    for name, field in fields.items():
        if name in value:
            if name in ("facets", "inputFacets", "outputFacets"):
                _facets(value[name], f"{where}.{name}")
            else:
                _typed(hints[name], value[name], f"{where}.{name}")
            if field.validator is not None:
                field.validator(_Unset(), field, value[name])
        else:
            assert field.default is not attr.NOTHING, (where, name)


class _Unset:
    """What a validator gets for the object: none of them looks at it."""


def _facets(value: Any, where: str) -> None:
    for name, facet in value.items():
        schema = facet["_schemaURL"]
        if schema.startswith(OWN["$id"]):
            assert name.startswith("dataver_")
            own = OWN["$defs"][schema.rpartition("/")[2]]
            jsonschema.validate(facet, own, format_checker=jsonschema.FormatChecker())
            assert set(facet) <= set(own["properties"]), (where, name)
        else:
            _object(CLASSES[schema], facet, f"{where}.{name}")


def _typed(hint: Any, value: Any, where: str) -> None:
    """A value is of a type, as JSON has it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        wanted = [one for one in arguments if one is not type(None)]
        assert value is not None, where  # What is not known is left out.
        if len(wanted) > 1:
            wanted = [one for one in wanted if attr.fields(one).type.default == value["type"]]
        assert len(wanted) == 1, (where, value)
        _typed(wanted[0], value, where)
    elif origin is list:
        assert isinstance(value, list), where
        for number, inner in enumerate(value):
            _typed(arguments[0], inner, f"{where}.{number}")
    elif origin is dict:
        assert isinstance(value, dict), where
        for key, inner in value.items():
            _typed(arguments[1], inner, f"{where}.{key}")
    elif hint is Any:
        pass
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        hint(value)
    elif attr.has(hint):
        _object(hint, value, where)
    else:
        expected = (int, float) if hint is float else hint
        assert isinstance(value, expected), (where, hint, value)
        assert hint is bool or not isinstance(value, bool), where
