"""Dataclasses whose methods come late, and light named tuples, are what the standard library's are."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import pkgutil
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import FrozenInstanceError, asdict, astuple, field, fields, is_dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, get_type_hints

import pytest

import dataver
from dataver import values
from dataver.errors import MissingExtraError
from dataver.results import ChangeCounts, Changes
from dataver.tree.schema import Link

DECORATORS = [dataclasses.dataclass, values.dataclass]


def frozen_class(dataclass: Any) -> type[Any]:
    """A class with all that the project's dataclasses have, that nobody looked at yet."""

    @dataclass(frozen=True, slots=True)
    class Base:
        """Has a name."""

        KIND: ClassVar[str] = "base"
        name: str

    @dataclass(frozen=True, slots=True)
    class Value(Base):
        """Has more."""

        KIND: ClassVar[str] = "value"
        size: int = 3
        parts: list[int] = field(default_factory=list)
        hidden: str = field(default="h", repr=False, compare=False)

        def __post_init__(self) -> None:
            if self.size < 0:
                raise ValueError(self.size)

        def __bool__(self) -> bool:
            return bool(self.parts)

    return Value


def mutable_class(dataclass: Any) -> type[Any]:
    """One that is not frozen, and shows itself."""

    @dataclass(slots=True)
    class Value:
        """Has rows."""

        name: str
        rows: list[int] = field(default_factory=list)

        def __repr__(self) -> str:
            return f"<{self.name} {self.rows}>"

    return Value


def assigned(value: Any, name: str) -> Any:
    setattr(value, name, "new")
    return value


OF_FROZEN: list[Callable[[type[Any]], object]] = [
    lambda cls: cls("a"),
    lambda cls: cls(name="a", parts=[1], size=2),
    lambda cls: cls("a").parts is cls("a").parts,
    lambda cls: cls(),
    lambda cls: cls("a", 1, [], "h", 5),
    lambda cls: cls("a", -1),
    lambda cls: (bool(cls("a")), bool(cls("a", 1, [1]))),
    lambda cls: (cls.KIND, cls("a").KIND),
    lambda cls: (cls("a", 1) == cls("a", 1), cls("a", 1) == cls("a", 2), cls("a") == "a"),
    lambda cls: cls("a", 1, [], "x") == cls("a", 1, [], "y"),
    lambda cls: cls("a", 1) < cls("a", 2),
    lambda cls: hash(cls("a")),
    lambda cls: hash(cls("a", 1, ())) == hash(("a", 1, ())),
    lambda cls: assigned(cls("a"), "size"),
    lambda cls: delattr(cls("a"), "size"),
    lambda cls: object.__new__(cls).size,
    lambda cls: [(f.name, f.type, f.repr, f.compare) for f in fields(cls)],
    lambda cls: [f.name for f in fields(cls("a"))],
    lambda cls: (is_dataclass(cls), is_dataclass(cls("a"))),
    lambda cls: (asdict(cls("a", 1, [1, 2])), astuple(cls("a", 1, [1, 2]))),
    lambda cls: replace(cls("a", 1), size=7),
    lambda cls: replace(cls("a", 1), length=7),
    lambda cls: copy.copy(cls("a", 1, [1])),
    lambda cls: copy.deepcopy(cls("a", 1, [1])),
    lambda cls: cls("a", 1, [1]).__getstate__(),
    lambda cls: (cls.__match_args__, cls.__slots__, hasattr(cls("a"), "__dict__")),
    lambda cls: (str(inspect.signature(cls)), cls.__doc__),
    lambda cls: cls.__dataclass_params__,
    lambda cls: get_type_hints(cls.__init__),
    lambda cls: (cls.__module__, cls.__qualname__, cls.__init__.__qualname__),
    lambda cls: hasattr(cls, "__replace__"),
]
OF_MUTABLE: list[Callable[[type[Any]], object]] = [
    lambda cls: cls("a"),
    lambda cls: assigned(cls("a"), "name"),
    lambda cls: assigned(cls("a"), "other"),
    lambda cls: (cls("a", [1]) == cls("a", [1]), cls("a", [1]) == cls("a", [2])),
    lambda cls: (cls.__hash__, hash(cls("a"))),
    lambda cls: copy.copy(cls("a", [1])),
    lambda cls: cls.__dataclass_params__,
]


def outcome(action: Callable[[type[Any]], object], cls: type[Any]) -> str:
    """What comes of it, or what is raised."""
    try:
        return repr(action(cls))
    except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
        return repr(error).replace(".<locals>.Value()", ".<locals>.Value.__init__()")


@pytest.mark.parametrize("action", OF_FROZEN)
def test_a_frozen_class_does_what_the_standard_one_does(action: Callable[[type[Any]], object]) -> None:
    standard, late = (outcome(action, frozen_class(decorator)) for decorator in DECORATORS)
    assert late == standard


@pytest.mark.parametrize("action", OF_MUTABLE)
def test_so_does_one_that_is_not_frozen(action: Callable[[type[Any]], object]) -> None:
    standard, late = (outcome(action, mutable_class(decorator)) for decorator in DECORATORS)
    assert late == standard


def test_nothing_is_written_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    real = dataclasses.dataclass

    def counting(**arguments: Any) -> Any:
        written.append(arguments)
        return real(**arguments)

    monkeypatch.setattr(dataclasses, "dataclass", counting)
    cls = mutable_class(values.dataclass)
    assert isinstance(vars(cls)["__init__"], values._Later)
    first, second = cls("a"), cls("a")
    assert not isinstance(vars(cls)["__init__"], values._Later)
    assert not written
    assert first == second
    assert first != cls("b")
    assert len(written) == 1


def tuple_class(base: Any) -> type[Any]:
    """A named tuple with all that the project's have."""

    class Place(base):  # type: ignore[misc]
        """Where something is."""

        pack: bytes
        start: int
        note: Callable[[], int] | None = None

        UNIT = 8

        @property
        def end(self) -> int:
            return int(self.start) + self.UNIT

        def __str__(self) -> str:
            return f"<{self.end}>"

    return Place


OF_TUPLE: list[Callable[[type[Any]], object]] = [
    lambda cls: cls(b"p", 1),
    lambda cls: cls(start=1, pack=b"p", note=3),
    lambda cls: cls(b"p"),
    lambda cls: (str(cls(b"p", 1)), cls(b"p", 1).end, cls.UNIT),
    lambda cls: (cls(b"p", 1) == (b"p", 1, None), hash(cls(b"p", 1)) == hash((b"p", 1, None))),
    lambda cls: (cls._fields, cls._field_defaults, cls.__match_args__, cls.__slots__),
    lambda cls: (list(cls.__annotations__), cls.__doc__, cls.__bases__),
    get_type_hints,
    lambda cls: (cls(b"p", 1)._replace(start=2), cls._make([1, 2, 3]), cls(b"p", 1)._asdict()),
    lambda cls: (cls.__module__, cls.__qualname__, cls.__name__),
    lambda cls: (list(inspect.signature(cls).parameters), hasattr(cls(b"p", 1), "__dict__")),
    lambda cls: assigned(cls(b"p", 1), "start"),
    lambda cls: assigned(cls(b"p", 1), "other"),
    lambda cls: (copy.copy(cls(b"p", 1)), copy.deepcopy(cls(b"p", 1))),
]


@pytest.mark.parametrize("action", OF_TUPLE)
def test_a_named_tuple_does_what_the_standard_one_does(action: Callable[[type[Any]], object]) -> None:
    standard, light = (outcome(action, tuple_class(base)) for base in (NamedTuple, values.NamedTuple))
    assert light == standard


def test_values_are_pickled() -> None:
    for value in (ChangeCounts(1, 2), Changes(["a"], renamed=[("b", "c")])):
        again = pickle.loads(pickle.dumps(value))
        assert again == value
        with pytest.raises(FrozenInstanceError):
            again.added = 7
    link = Link(b"digest", b"identity", 1, 2)
    assert pickle.loads(pickle.dumps(link)) == link
    assert type(pickle.loads(pickle.dumps(link))) is Link


def test_threads_that_make_the_first_values_at_once() -> None:
    for _ in range(20):
        cls = frozen_class(values.dataclass)
        barrier = threading.Barrier(8)
        found: list[object] = []

        def first(
            cls: type[Any] = cls, barrier: threading.Barrier = barrier, found: list[object] = found
        ) -> None:
            barrier.wait()
            value = cls("a", 1, ())
            found.append((value == cls("a", 1, ()), hash(value), repr(value)))

        threads = [threading.Thread(target=first) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1


def dataclasses_of(package: ModuleType) -> Iterator[type[Any]]:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        try:
            imported = import_module(module.name)
        except MissingExtraError:  # What it needs is in an environment of its own, where it is looked at.
            continue
        except ImportError as error:  # So it is where a part of it is here, as of OpenTelemetry its messages.
            if (error.name or "dataver").startswith("dataver"):
                raise
            continue
        for value in vars(imported).values():
            if isinstance(value, type) and value.__module__ == module.name and is_dataclass(value):
                yield value


def test_fields_of_all_classes_are_their_slots() -> None:
    """A mistake in one would show no sooner than at the first value."""
    classes = list(dataclasses_of(dataver))
    assert len(classes) > 80
    check_fields(classes)


def check_fields(classes: Iterable[Any]) -> None:
    for cls in classes:
        inherited = {f.name for base in cls.__mro__[1:] if is_dataclass(base) for f in fields(base)}
        assert [f.name for f in fields(cls) if f.name not in inherited] == list(cls.__slots__), cls
        assert inspect.signature(cls).parameters.keys() == {f.name for f in fields(cls) if f.init}
        assert cls.__dataclass_params__.eq
