"""Dataclasses with slots whose methods are written when they are needed.

`dataclasses.dataclass` writes and compiles the source of up to six methods for each class, half a
millisecond. A command imports some eighty such classes and makes values of twenty. Here a class gets
its slots at once, and what `dataclasses.dataclass` would add is added by it when somebody looks for
it: what the first value needs then, the rest when values are compared or shown.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from threading import RLock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414, TID251 - what it is to a type checker
else:

    def dataclass(*, slots, frozen=False):
        """Do what `dataclasses.dataclass(slots=True, frozen=…)` does, as late as can be.

        Annotations are texts, as `from __future__ import annotations` makes them. A mistake in the
        fields, such as one without a default after one with, is found at the first value.
        """
        assert slots, "without slots `dataclasses.dataclass` is meant"
        return lambda written: _slotted(written, frozen)


# What `dataclasses.dataclass` adds: what a first value needs, and what many a class never does.
_FIRST = ("__dataclass_fields__", "__match_args__", "__init__", "__setattr__", "__delattr__")
_SELDOM = ("__dataclass_params__", "__repr__", "__eq__", "__hash__", "__replace__")
_ONLY_FIRST = {"repr": False, "eq": False}

_lock = RLock()  # a class asks its bases


class _Later:
    """An attribute of a dataclass that is not there yet: a look at it adds it, and those beside it."""

    __slots__ = ("_cls", "_frozen", "_name", "_written")

    def __init__(self, written: type, frozen: bool) -> None:
        self._written = written
        self._frozen = frozen

    def __set_name__(self, cls: type, name: str) -> None:
        self._cls = cls
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        with _lock:
            if vars(self._cls)[self._name] is self:
                self._add()
        value = vars(self._cls)[self._name]
        return value.__get__(instance, owner) if hasattr(value, "__get__") else value

    def _add(self) -> None:
        names, only = (_FIRST, _ONLY_FIRST) if self._name in _FIRST else (_SELDOM, {})
        copy = _copy(self._written, _namespace(self._written))
        added = vars(dataclasses.dataclass(frozen=self._frozen, **only)(copy))  # noqa: TID251 - the real one
        present = vars(self._cls)
        for name in names:
            if isinstance(present.get(name), _Later):
                setattr(self._cls, name, added[name])


def _slotted(written: type, frozen: bool) -> type:
    """The class with slots for its fields, and with all else still to come."""
    namespace = _namespace(written)
    annotations = inspect.get_annotations(written)
    fields = [name for name, annotation in annotations.items() if not annotation.startswith("ClassVar")]
    for name in fields:
        namespace.pop(name, None)
    namespace["__slots__"] = tuple(fields)
    later = [*_FIRST[:3], "__dataclass_params__", "__repr__", "__eq__"]
    if sys.version_info >= (3, 13):
        later.append("__replace__")
    if frozen:
        later += ["__setattr__", "__delattr__", "__hash__"]
        # Frozen values are pickled by their fields: nothing else may set these.
        namespace.setdefault("__getstate__", _state)
        namespace.setdefault("__setstate__", _set_state)
    else:
        namespace.setdefault("__hash__", None)
    for name in later:
        if name not in namespace:
            namespace[name] = _Later(written, frozen)
    return _copy(written, namespace)


def _namespace(cls: type) -> dict[str, Any]:
    """What stands in the body of a class."""
    return {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}


def _copy(cls: type, namespace: dict[str, Any]) -> type:
    """A class of the same name and bases with another body."""
    copy = type(cls)(cls.__name__, cls.__bases__, namespace)
    copy.__qualname__ = cls.__qualname__
    return copy


def _state(value: Any) -> list[object]:
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


def _set_state(value: Any, state: list[object]) -> None:
    for field, content in zip(dataclasses.fields(value), state, strict=True):
        object.__setattr__(value, field.name, content)
