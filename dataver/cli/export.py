"""`dataver export`: what the repository knows, in the words of others."""

from __future__ import annotations

from dataver.cli.family import family

KINDS = {
    "cyclonedx": "List what a model or version is made of as CycloneDX.",
    "prov": "Tell what something came from as W3C PROV.",
}

command = family(
    "export",
    "Write what is known of a version, model or run as a document of a standard.",
    KINDS,
    "dataver export cyclonedx iris@v3 -o bom.json",
    "dataver export prov model:churn@v2 --format provn",
)
