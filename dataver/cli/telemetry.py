"""`dataver telemetry`: what is sent of what dataver does, and the queries that ask for it."""

from __future__ import annotations

from dataver.cli.family import family

command = family(
    "telemetry",
    "See whether telemetry arrives, and print queries for it.\n\nDATAVER_TELEMETRY says where it goes: none, "
    "console, otlp or azuremonitor. See docs/reference/telemetry.md for all that is sent.",
    {
        "check": "Send one event, and say what the server answers.",
        "queries": "Print the queries in Kusto's language, or the workbook.",
    },
    "dataver telemetry check",
    "dataver telemetry queries who-used-which-version",
)
