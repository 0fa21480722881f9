"""What happens to runs and versions, told to integrations; nothing of them is needed here.

An integration names an object under the entry-point group `dataver.run_hooks`, or registers it. Of the
methods `run_started(run)`, `tracker_added(run, tracker)`, `model_logged(run, model)`, `run_ending(run)`,
when more can be logged to it, and `run_ended(run)`, when it is recorded, it has those that it needs; and of
`version_committed(repository, result)`, for a version that a commit, merge, revert or import made, which is
told where somebody listens: see `heard`. Entry points are loaded when the first run of a process starts, or
something is told to them otherwise. A hook that fails is a warning, and never fails what it is told of.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

__all__ = ["GROUP", "emit", "heard", "named", "register", "unregister"]

GROUP = "dataver.run_hooks"

_VARIABLES = ("DATAVER_OPENLINEAGE", "OPENLINEAGE_URL", "OPENLINEAGE_CONFIG", "OPENLINEAGE__TRANSPORT__TYPE")
_FILES = ("openlineage.yml", os.path.join("~", ".openlineage", "openlineage.yml"))
"""What switches on integrations that listen beyond runs. Entry points take long to find: these come first."""

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


def named() -> bool:
    """Whether the environment names somebody who listens: a variable, or a file where his client looks."""
    return any(map(os.environ.get, _VARIABLES)) or any(
        os.path.isfile(os.path.expanduser(file)) for file in _FILES
    )


def heard() -> bool:
    """Whether anybody listens to what happens beyond runs."""
    return bool(_registered or _loaded) or named()


def _name(hook: Any) -> str:
    """What a hook calls itself, else its class: where it is in memory helps nobody."""
    kind = type(hook)
    is_named = kind.__repr__.__qualname__ != "object.__repr__"
    return repr(hook) if is_named else f"{kind.__module__}.{kind.__qualname__}"


def emit(event: str, *arguments: Any) -> None:
    """Tell every hook that has a method of this name."""
    for hook in [*_from_entry_points(), *_registered]:
        told = getattr(hook, event, None)
        if told is None:
            continue
        try:
            told(*arguments)
        except Exception as error:  # noqa: BLE001 - of somebody else's; what it was told of goes on
            warnings.warn(f"a hook of {GROUP}, {_name(hook)}, failed at {event}: {error}", stacklevel=2)


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
