"""What the environment says of telemetry: where to, and whether columns may be named."""

from __future__ import annotations

import os
from urllib.parse import urlsplit, urlunsplit

from dataver.errors import BadInputError
from dataver.progress import OFF, TELEMETRY_VARIABLE

__all__ = [
    "AZURE_MONITOR",
    "COLUMNS_VARIABLE",
    "CONNECTION_VARIABLE",
    "CONSOLE",
    "END_S_MAX",
    "EXTRAS",
    "NONE",
    "OTLP",
    "chosen_exporter",
    "columns_may_be_named",
    "end_s_max",
    "endpoint_of",
]

NONE, CONSOLE, OTLP, AZURE_MONITOR = "none", "console", "otlp", "azuremonitor"
EXTRAS = {CONSOLE: "otel", OTLP: "otel", AZURE_MONITOR: "azuremonitor"}
"""The exporters, and what must be installed for each."""
COLUMNS_VARIABLE = "DATAVER_TELEMETRY_COLUMNS"
WAIT_VARIABLE = "DATAVER_TELEMETRY_WAIT"
END_S_MAX = 2.0
"""The end of a command waits no longer, unless the variable says so."""
WAIT_S_MAX = 600.0
CONNECTION_VARIABLE = "APPLICATIONINSIGHTS_CONNECTION_STRING"
OTLP_VARIABLES = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Where events go."""
OTLP_DEFAULT = "http://localhost:4318"


def chosen_exporter() -> str:
    """One of `EXTRAS`, or `NONE`. `BadInputError` for what is neither."""
    said = os.environ.get(TELEMETRY_VARIABLE, "").strip().lower()
    if not said or said in OFF:
        return NONE
    if said not in EXTRAS:
        raise BadInputError(f"{TELEMETRY_VARIABLE} is none of none, {', '.join(EXTRAS)}: correct it")
    return said


def end_s_max() -> float:
    """How long the end of a command waits at most for what is on its way, in seconds."""
    text = os.environ.get(WAIT_VARIABLE, "").strip()
    try:
        seconds = float(text or END_S_MAX)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= WAIT_S_MAX:
        raise BadInputError(f"{WAIT_VARIABLE} is no number of seconds from 0 to {WAIT_S_MAX:.0f}: correct it")
    return seconds


def columns_may_be_named() -> bool:
    """Whether names of columns may be sent; their values never are."""
    return os.environ.get(COLUMNS_VARIABLE, "").strip().lower() in ("1", "true", "yes", "on")


def endpoint_of(exporter: str) -> str | None:
    """Where an exporter sends to, without any credential; None where it sends nowhere or is not told.

    `BadInputError` for what is no URL.
    """
    if exporter == AZURE_MONITOR:
        text = os.environ.get(CONNECTION_VARIABLE, "")
        parts = (part.partition("=")[::2] for part in text.split(";"))
        found = {name.strip().lower(): value.strip() for name, value in parts}
        return plain_url(found["ingestionendpoint"]) if found.get("ingestionendpoint") else None
    if exporter == OTLP:
        return plain_url(next(filter(None, map(os.environ.get, OTLP_VARIABLES)), OTLP_DEFAULT))
    return "standard error" if exporter == CONSOLE else None


def plain_url(url: str) -> str:
    """A URL without user, password, query and fragment. `BadInputError` for what is none."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadInputError(f"the endpoint of telemetry is no URL ({error}): correct it") from None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
