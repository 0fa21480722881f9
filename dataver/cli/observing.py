"""Telemetry of one run of the program, where `DATAVER_TELEMETRY` asks for it: never a reason to fail."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from dataver.cli import output
from dataver.errors import DataverError

if TYPE_CHECKING:
    from dataver.integrations.telemetry.observer import Begun, OpenTelemetryObserver
    from dataver.integrations.telemetry.providers import SdkProviders

UNOBSERVED = ("telemetry", "completion")


def begin(verb: str) -> Callable[[int], None] | None:
    """Observe from here on what a verb does; gives what is to be called with its exit code, if anything."""
    from dataver.integrations.telemetry.setting import NONE, chosen_exporter
    from dataver.progress import observe_with

    if verb.partition(" ")[0] in UNOBSERVED:
        return None
    try:
        exporter = chosen_exporter()
        if exporter == NONE:
            return None
        from dataver.integrations.telemetry.providers import make_providers

        providers = make_providers(exporter)
        from dataver.integrations.telemetry.observer import OpenTelemetryObserver

        observer = OpenTelemetryObserver(providers)
        begun = observer.begin("command", {"dataver.command": verb})
    except DataverError as error:
        output.warn(f"no telemetry: {error}")
        return None
    except Exception as error:  # noqa: BLE001 - whatever an exporter of somebody else's does, the verb goes on
        output.warn(f"no telemetry: {type(error).__name__}: {error}")
        return None
    before = observe_with(observer)

    def end(code: int) -> None:
        observe_with(before)
        _end(observer, begun, providers, code)

    return end


def _end(observer: OpenTelemetryObserver, begun: Begun, providers: SdkProviders, code: int) -> None:
    try:
        observer.finish(begun, {"dataver.exit_code": code}, failed=code != 0)
        providers.close()
    except KeyboardInterrupt:
        return
    except Exception as error:  # noqa: BLE001 - the verb is done, and its exit code stands
        with suppress(OSError):
            output.warn(f"no telemetry: {type(error).__name__}: {error}")
