"""OpenTelemetry: spans, metrics and events of what dataver does, for Application Insights and any collector.

In a program, dataver speaks to the providers that the program itself has set up, by OpenTelemetry's API.
The command line sets up providers of its own, as `DATAVER_TELEMETRY` says, and a program may have the same by
calling `set_up`. `dataver.integrations.telemetry.names` lists all that is ever sent.
"""

from __future__ import annotations

__all__ = ["set_up"]


def set_up() -> bool:
    """Send what dataver does in this process from here on to where `DATAVER_TELEMETRY` says.

    What waits is sent when the process ends, which takes two seconds at most. False, and nothing is done,
    where the variable is not set, or `none`. `BadInputError` where it cannot be done.
    """
    import atexit

    from dataver.integrations.telemetry.observer import OpenTelemetryObserver
    from dataver.integrations.telemetry.providers import make_providers
    from dataver.integrations.telemetry.setting import NONE, chosen_exporter
    from dataver.progress import observe_with

    exporter = chosen_exporter()
    if exporter == NONE:
        return False
    providers = make_providers(exporter)
    observe_with(OpenTelemetryObserver(providers))
    atexit.register(providers.close)
    return True
