"""How work tells whoever watches it: of long work what is done, of every operation that it began and ended.

The command line draws progress; libraries may ignore it. An observer sees all operations of a process. One
is registered, or named under the entry-point group `dataver.observers` and looked up once the process has
OpenTelemetry, which the standard one speaks to. Without one an operation pays a look at a variable. An
observer that fails is a warning, and never fails the operation.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

OBSERVERS = "dataver.observers"
TELEMETRY_VARIABLE = "DATAVER_TELEMETRY"
OFF = ("none", "off", "0", "false", "no")
"""What the variable says where nobody is to be told of anything, not even by a program's own telemetry."""
_API = "opentelemetry.trace"

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class Progress(Protocol):
    """A watcher of one piece of work at a time. Calls come from one thread at a time."""

    def begin(self, what: str, files: int | None = None, size_bytes: int | None = None) -> None:
        """A piece of work starts; totals are None where they are not known."""

    def advance(self, files: int = 0, size_bytes: int = 0) -> None:
        """So many more files and bytes are done."""

    def end(self) -> None:
        """The piece of work is over, also after an error."""


class Silent:
    """A watcher that watches nothing."""

    def begin(self, what: str, files: int | None = None, size_bytes: int | None = None) -> None:
        """Nothing to show."""

    def advance(self, files: int = 0, size_bytes: int = 0) -> None:
        """Nothing to show."""

    def end(self) -> None:
        """Nothing to show."""


class Observer(Protocol):
    """Sees operations begin and end; those that an operation needs lie within it. From any thread."""

    def began(self, operation: str, arguments: Mapping[str, Any]) -> Any:
        """An operation was called so. What is returned is given to `ended`."""

    def ended(self, begun: Any, result: Any, error: BaseException | None) -> None:
        """It returned `result`, or raised `error`."""


_registered: Observer | None = None
_found: list[Observer] | None = None


def observe_with(observer: Observer | None) -> Observer | None:
    """Make this the observer of all operations; gives the one before. None: as if none had been given."""
    global _registered
    before, _registered = _registered, observer
    return before


def observer() -> Observer | None:
    """Who sees the operations of this process, if anybody does."""
    if _registered is not None:
        return _registered
    if _API not in sys.modules or os.environ.get(TELEMETRY_VARIABLE, "").strip().lower() in OFF:
        return None
    found = _from_entry_points()
    return found[0] if found else None


def observed(operation: str) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
    """Make a function an operation that the observer sees."""

    def decorate(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        @wraps(function)
        def call(*args: Parameters.args, **options: Parameters.kwargs) -> Returned:
            watching = observer()
            if watching is None:
                return function(*args, **options)
            begun = _tell(watching.began, operation, _arguments(function, args, options))
            try:
                result = function(*args, **options)
            except BaseException as error:
                _tell(watching.ended, begun, None, error)
                raise
            _tell(watching.ended, begun, result, None)
            return result

        return call

    return decorate


def _arguments(function: Callable[..., Any], args: Any, options: Any) -> Mapping[str, Any]:
    from inspect import signature

    try:
        return signature(function).bind_partial(*args, **options).arguments
    except TypeError:  # The call itself says what is wrong with it.
        return {}


def _tell(told: Callable[..., Any], *what: Any) -> Any:
    try:
        return told(*what)
    except Exception as error:  # noqa: BLE001 - of somebody else's; the operation goes on
        warnings.warn(f"the observer of operations failed, {type(error).__name__}: {error}", stacklevel=4)
        return None


def _from_entry_points() -> list[Observer]:
    global _found  # noqa: PLW0603 - looked up once a process
    if _found is None:
        from importlib.metadata import entry_points

        _found = []
        for entry in entry_points(group=OBSERVERS):
            try:
                made = entry.load()()
                _found += [made] if made is not None else []
            except Exception as error:  # noqa: BLE001 - of somebody else's; the operation goes on
                warnings.warn(
                    f"the observer {entry.name} of {OBSERVERS} was not loaded: {error}", stacklevel=5
                )
    return _found
