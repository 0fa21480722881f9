"""What happens to runs, told to integrations; nothing of them is needed here.

An integration names an object under the entry-point group `dataver.run_hooks`, or registers it. Of the
methods `run_started(run)`, `tracker_added(run, tracker)`, `model_logged(run, model)`, `run_ending(run)`,
when more can be logged to it, and `run_ended(run)`, when it is recorded, it has those that it needs.
Entry points are loaded when the first run of a process starts. A hook that fails is a warning, and
never fails the run.
"""

from __future__ import annotations

import warnings
from typing import Any

__all__ = ["GROUP", "emit", "register", "unregister"]

GROUP = "dataver.run_hooks"

_registered: list[Any] = []
_loaded: list[Any] | None = None


def register(hook: Any) -> None:
    """Tell this object of runs, too."""
    if hook not in _registered:
        _registered.append(hook)


def unregister(hook: Any) -> None:
    """Tell this object of no more runs."""
    if hook in _registered:
        _registered.remove(hook)


def emit(event: str, *arguments: Any) -> None:
    """Tell every hook that has a method of this name."""
    for hook in [*_from_entry_points(), *_registered]:
        told = getattr(hook, event, None)
        if told is None:
            continue
        try:
            told(*arguments)
        except Exception as error:  # noqa: BLE001 - of somebody else's; the run goes on
            warnings.warn(f"a hook of {GROUP}, {hook!r}, failed at {event}: {error}", stacklevel=2)


def _from_entry_points() -> list[Any]:
    global _loaded  # noqa: PLW0603 - looked up once a process
    if _loaded is None:
        from importlib.metadata import entry_points

        _loaded = []
        for entry in entry_points(group=GROUP):
            try:
                found = entry.load()
                _loaded.append(found() if isinstance(found, type) else found)
            except Exception as error:  # noqa: BLE001 - of somebody else's; the run goes on
                warnings.warn(f"the hook {entry.name} of {GROUP} was not loaded: {error}", stacklevel=2)
    return _loaded
