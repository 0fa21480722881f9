"""The tables of an Application Insights resource, filled with what was sent to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb_kql

if TYPE_CHECKING:
    from collections.abc import Iterable

# https://learn.microsoft.com/azure/azure-monitor/reference/tables-index has all columns.
COMMON = {
    "timestamp": "datetime", "name": "string", "itemType": "string", "customDimensions": "dynamic",
    "operation_Name": "string", "operation_Id": "string", "operation_ParentId": "string",
    "cloud_RoleName": "string", "cloud_RoleInstance": "string", "application_Version": "string",
    "sdkVersion": "string", "itemCount": "int",
}  # fmt: skip
TABLES = {
    "customEvents": {**COMMON, "customMeasurements": "dynamic"},
    "customMetrics": {
        **COMMON, "value": "real", "valueCount": "int", "valueSum": "real", "valueMin": "real",
        "valueMax": "real",
    },
    "dependencies": {
        **COMMON, "id": "string", "type": "string", "target": "string", "success": "string",
        "resultCode": "string", "duration": "real",
    },
}  # fmt: skip
SQL = {"datetime": "timestamptz", "string": "varchar", "dynamic": "json", "real": "double", "int": "integer"}


def schema(table: str) -> str:
    """A table's columns as Kusto has them."""
    return f"({', '.join(f'{name}:{kind}' for name, kind in TABLES[table].items())})"


def rows(envelope: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    """The rows that an envelope becomes, each with its table."""
    tags, data = envelope["tags"], envelope["data"]["baseData"]
    common = {
        "timestamp": envelope["time"],
        "name": data.get("name"),
        "customDimensions": json.dumps(data.get("properties", {})),
        "operation_Id": tags.get("ai.operation.id"),
        "operation_ParentId": tags.get("ai.operation.parentId"),
        "cloud_RoleName": tags["ai.cloud.role"],
        "cloud_RoleInstance": tags["ai.cloud.roleInstance"],
        "sdkVersion": tags["ai.internal.sdkVersion"],
        "itemCount": 1,
    }
    kind = envelope["data"]["baseType"]
    if kind == "EventData":
        yield "customEvents", {**common, "itemType": "customEvent"}
    elif kind == "MetricData":
        for metric in data["metrics"]:
            value = metric["value"]
            yield (
                "customMetrics",
                {
                    **common,
                    "name": metric["name"],
                    "itemType": "customMetric",
                    "value": value,
                    "valueSum": value,
                },
            )
    else:
        assert kind == "RemoteDependencyData"
        yield (
            "dependencies",
            {
                **common,
                "itemType": "dependency",
                "id": data["id"],
                "type": data["type"],
                "success": str(data["success"]),
                "resultCode": data["resultCode"],
                "duration": milliseconds(data["duration"]),
            },
        )


def milliseconds(text: str) -> float:
    """`0.00:00:00.188` in ms."""
    days, _, clock = text.partition(".")
    hours, minutes, seconds = clock.split(":")
    return ((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60_000 + float(seconds) * 1000


def database(envelopes: Iterable[dict[str, Any]]) -> Any:
    """A database with the three tables."""
    connection = duckdb_kql.connect()
    for table, columns in TABLES.items():
        connection.execute(
            f"create table {table} ({', '.join(f'{name!s} {SQL[kind]}' for name, kind in columns.items())})"
        )
    for envelope in envelopes:
        for table, row in rows(envelope):
            marks = ", ".join("?" * len(row))
            connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", list(row.values()))
    return connection
