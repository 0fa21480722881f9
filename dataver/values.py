"""Dataclasses with slots and named tuples that cost the start of a command less than the standard ones.

`dataclasses.dataclass` writes and compiles the source of up to six methods for each class, half a
millisecond. A command imports some eighty such classes and makes values of thirty, of which it
compares few. Here a class gets its slots at once, its `__init__` with the first value, and all else
that `dataclasses.dataclass` would add is added by it when somebody looks for it. Of a named tuple
`typing.NamedTuple` compiles each annotation, which takes as long as all the rest.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections import namedtuple
from dataclasses import MISSING, Field, FrozenInstanceError
from threading import RLock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # What they are to a type checker.
    from dataclasses import dataclass as dataclass  # noqa: PLC0414, TID251
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414, TID251
else:

    def dataclass(*, slots, frozen=False):
        """Do what `dataclasses.dataclass(slots=True, frozen=…)` does, as late as can be.

        Annotations are texts, as `from __future__ import annotations` makes them. A field is written with
        a default, with `field` and a default or a factory, or with neither. A mistake, such as one without
        a default after one with, is found at the first value.
        """
        assert slots, "without slots `dataclasses.dataclass` is meant"
        return lambda written: _slotted(written, frozen)

    class _NamedTupleType(type):
        """Makes of a class what `typing.NamedTuple` does, save that no annotation is compiled."""

        def __new__(cls, name, _bases, body):
            fields = body["__annotations__"]
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])  # noqa: PYI024
            made.__new__.__annotations__ = fields
            for key, value in body.items():
                setattr(made, key, value)
            return made

    NamedTuple = type.__new__(_NamedTupleType, "NamedTuple", (), {})


# What `dataclasses.dataclass` adds besides `__init__`: what tells of the fields, and what is seldom needed.
_FIELDS = ("__dataclass_fields__", "__match_args__")
_SELDOM = ("__dataclass_params__", "__repr__", "__eq__", "__hash__", "__replace__")
_ONLY_FIELDS = {"init": False, "repr": False, "eq": False}

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
        if self._name == "__init__":
            setattr(self._cls, self._name, _init(self._cls, self._frozen))
            return
        copy = _copy(self._written, _namespace(self._written))
        names, only = (_FIELDS, _ONLY_FIELDS) if self._name in _FIELDS else (_SELDOM, {})
        added = vars(dataclasses.dataclass(frozen=self._frozen, **only)(copy))  # noqa: TID251 - the real one
        present = vars(self._cls)
        for name in names:
            if isinstance(present.get(name), _Later):
                setattr(self._cls, name, added[name])


def _slotted(written: type, frozen: bool) -> type:
    """The class with slots for its fields, and with all else still to come."""
    namespace = _namespace(written)
    annotations = inspect.get_annotations(written)
    own = {name: text for name, text in annotations.items() if not text.startswith("ClassVar")}
    namespace["_written"] = {name: (text, namespace.pop(name, MISSING)) for name, text in own.items()}
    namespace["__slots__"] = tuple(own)
    later = ["__init__", *_FIELDS, "__dataclass_params__", "__repr__", "__eq__"]
    if sys.version_info >= (3, 13):
        later.append("__replace__")
    if frozen:
        later.append("__hash__")
        namespace.setdefault("__setattr__", _refuse_to_set)
        namespace.setdefault("__delattr__", _refuse_to_delete)
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


class _Factory:
    """Stands for the default that a factory makes; `inspect.signature` shows it as the standard one."""

    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _Factory()


def _init(cls: type, frozen: bool) -> Any:
    """The method that sets the fields, those of the bases first."""
    fields: dict[str, tuple[str, Any]] = {}
    for base in reversed(cls.__mro__):
        fields |= vars(base).get("_written", {})
    # With what its module has, where whoever asks for the types of its parameters finds them.
    names = dict(getattr(sys.modules.get(cls.__module__), "__dict__", {}))
    names |= {"_set": object.__setattr__, "_FACTORY": _FACTORY}
    parameters, defaults, lines = ["self"], [], []
    for name, (_, default) in fields.items():
        if isinstance(default, Field):
            make = default.default_factory
            default = default.default if make is MISSING else _FACTORY
            if default is _FACTORY:
                names[f"_make_{name}"] = make
                lines.append(f"if {name} is _FACTORY: {name} = _make_{name}()")
        if default is MISSING:
            parameters.append(name)
        else:
            parameters.append(f"{name}=None")  # what it is instead comes from `__defaults__`
            defaults.append(default)
        lines.append(f"_set(self, '{name}', {name})" if frozen else f"self.{name} = {name}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    source = f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines or ["pass"])
    exec(source, names)  # noqa: S102 - as the standard library does
    init: Any = names["__init__"]
    init.__defaults__ = tuple(defaults)
    init.__annotations__ = {name: text for name, (text, _) in fields.items()} | {"return": None}
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _refuse_to_set(_value: object, name: str, _content: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_value: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(value: Any) -> list[object]:
    return [getattr(value, field.name) for field in dataclasses.fields(value)]


def _set_state(value: Any, state: list[object]) -> None:
    for field, content in zip(dataclasses.fields(value), state, strict=True):
        object.__setattr__(value, field.name, content)
