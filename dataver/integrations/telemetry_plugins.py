"""What dataver finds of telemetry by entry points. OpenTelemetry is imported where it was imported before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataver import progress

if TYPE_CHECKING:
    from dataver.running import Run

__all__ = ["RunHook", "make_observer"]


RELEASE_MIN = (1, 39)
"""Of OpenTelemetry, as `dataver[otel]` asks for it: older ones know no events of ours."""


def make_observer() -> progress.Observer | None:
    """What tells the program's own providers; asked for where OpenTelemetry's API is imported.

    None where that is too old: whoever has it for another reason need not hear of it.
    """
    from opentelemetry.version import __version__

    if tuple(map(int, __version__.split(".")[:2])) < RELEASE_MIN:
        return None
    from dataver.integrations.telemetry.observer import OpenTelemetryObserver

    return OpenTelemetryObserver()


class RunHook:
    """Tells the observer of runs, if it wants to hear of them."""

    def run_started(self, run: Run) -> None:
        """A run began."""
        _tell("run_started", run)

    def run_ended(self, run: Run) -> None:
        """It was recorded how it ended."""
        _tell("run_ended", run)


def _tell(event: str, run: Run) -> None:
    told: Any = getattr(progress.observer(), event, None)
    if told is not None:
        told(run)
