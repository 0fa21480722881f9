"""Sending events by OpenLineage's own client: to a URL, into a file, or as the client is configured."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dataver.errors import BadInputError, MissingExtraError, StoreError
from dataver.lineage.masking import MASK, mask_text
from dataver.results import Json

if TYPE_CHECKING:
    from openlineage.client import OpenLineageClient

__all__ = ["TIMEOUT_S", "is_url", "send"]

TIMEOUT_S = 5.0
"""A receiver has so long to answer, where the client's own configuration does not say it."""
_ENDPOINT = "api/v1/lineage"
_OWN_FACETS = {"facets": {"source_code_location": {"disabled": True}}}
"""The client would add the remote of git as it stands, with its password. Ours are masked."""


def is_url(target: str) -> bool:
    """Whether a target is one that events are posted to."""
    return target.startswith(("http://", "https://"))


def send(events: Iterable[Json], target: str = "") -> None:
    """Send events to a URL, append them to a file, or without a target do as the client is configured.

    `StoreError` where they cannot be delivered, `MissingExtraError` where the client is not installed.
    """
    try:
        from openlineage.client import OpenLineageClient
    except ImportError as error:
        raise MissingExtraError(
            f"sending events needs openlineage-python, which cannot be imported ({error}); "
            "pip install 'dataver[openlineage]'"
        ) from error
    transport = _transport(target) if target else {}
    with closing(OpenLineageClient(config={**_OWN_FACETS, **transport})) as client:
        for event in events:
            _emit(client, event, target)


def _emit(client: OpenLineageClient, event: Json, target: str) -> None:
    try:
        client.emit(as_object(event))
    except Exception as error:  # noqa: BLE001 - what transports raise is theirs to choose
        raise StoreError(
            f"OpenLineage events were not delivered{_to(target)}: {_said(error, target)}"
        ) from None


def _said(error: Exception, target: str) -> str:
    """What a transport says, which may have the whole URL in it: without its password and its query."""
    query = urlsplit(target).query if is_url(target) else ""
    text = str(error)
    return mask_text(text.replace(query, MASK) if query else text)


def _to(target: str) -> str:
    from dataver.store.clients import public_url

    return f" to {public_url(target)}" if target else ""


def _transport(target: str) -> Json:
    """The client's configuration for a target. The key for a URL is that of the client's own variable."""
    if not is_url(target):
        if "://" in target:
            raise BadInputError(f"{target[:200]!a} is neither a file nor a URL of http:// or https://")
        return {"transport": {"type": "file", "log_file_path": os.path.abspath(target), "append": True}}
    parts = urlsplit(target)
    endpoint = parts.path.strip("/") or os.environ.get("OPENLINEAGE_ENDPOINT", _ENDPOINT)
    found: dict[str, Any] = {
        "type": "http",
        "url": f"{parts.scheme}://{parts.netloc}",
        "endpoint": f"{endpoint}?{parts.query}" if parts.query else endpoint,
        "timeout": TIMEOUT_S,
        "retry": {"total": 1},
    }
    key = os.environ.get("OPENLINEAGE_API_KEY")
    if key:
        found["auth"] = {"type": "api_key", "apiKey": key}
    return {"transport": found}


def as_object(event: Json) -> Any:
    """The event in the client's classes, which check ids and times; facets stay as they are."""
    from openlineage.client import event_v2

    if "dataset" in event:
        return event_v2.DatasetEvent(
            eventTime=event["eventTime"],
            producer=event["producer"],
            dataset=event_v2.StaticDataset(**event["dataset"]),
        )
    return event_v2.RunEvent(
        eventType=event_v2.RunState(event["eventType"]),
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=event_v2.Run(**event["run"]),
        job=event_v2.Job(**event["job"]),
        inputs=[event_v2.InputDataset(**each) for each in event["inputs"]],
        outputs=[event_v2.OutputDataset(**each) for each in event["outputs"]],
    )
