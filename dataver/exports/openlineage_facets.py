"""Facets of OpenLineage: what is said of a dataset, each as its schema has it.

Those of dataver's own have names that begin with `dataver_`; their schema is `openlineage-facets.json` here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError
from dataver.exports.croissant_tables import Table, grouped
from dataver.exports.facts import URN, VersionFacts, filled
from dataver.results import Json

if TYPE_CHECKING:
    from dataver.tables.view import TableColumn, TableStatistics
    from dataver.version import Version

__all__ = [
    "PRODUCER",
    "SCHEMA_FILE",
    "dataset",
    "dataset_facets",
    "facet",
    "metrics_of",
    "own_facet",
    "tables_of",
]

PRODUCER = f"{URN}openlineage"
SCHEMA_FILE = "openlineage-facets.json"
OWN_SCHEMA = f"{URN}openlineage:facets:1-0-0"
SPEC = "https://openlineage.io/spec/facets"
VERSIONS = {
    "DataQualityMetricsDatasetFacet": "1-0-1",
    "DataQualityMetricsInputDatasetFacet": "1-0-3",
    "DatasetTypeDatasetFacet": "1-0-1",
    "DatasetVersionDatasetFacet": "1-0-1",
    "DatasourceDatasetFacet": "1-0-1",
    "DocumentationDatasetFacet": "1-1-0",
    "ErrorMessageRunFacet": "1-0-1",
    "ExecutionParametersRunFacet": "1-0-0",
    "InputStatisticsInputDatasetFacet": "1-0-0",
    "InputSubsetInputDatasetFacet": "1-0-0",
    "JobTypeJobFacet": "2-0-4",
    "LifecycleStateChangeDatasetFacet": "1-0-1",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
    "OwnershipDatasetFacet": "1-0-1",
    "ParentRunFacet": "1-2-0",
    "ProcessingEngineRunFacet": "1-1-1",
    "SchemaDatasetFacet": "1-2-0",
    "SourceCodeLocationJobFacet": "1-1-0",
    "StorageDatasetFacet": "1-0-1",
    "SymlinksDatasetFacet": "1-0-1",
}
_FILES = {"InputSubsetInputDatasetFacet": "BaseSubsetDatasetFacet"}
QUICK_TABLES_MAX = 100
"""So many tables are looked at where nobody wants to wait."""


def facet(name: str, /, **fields: Any) -> Json:
    """A facet of the standard's, by the name of its class."""
    schema = f"{SPEC}/{VERSIONS[name]}/{_FILES.get(name, name)}.json#/$defs/{name}"
    return {"_producer": PRODUCER, "_schemaURL": schema, **filled(fields)}


def own_facet(name: str, /, **fields: Any) -> Json:
    """A facet of dataver's own."""
    return {"_producer": PRODUCER, "_schemaURL": f"{OWN_SCHEMA}#/$defs/{name}", **filled(fields)}


def dataset(repository: str, name: str) -> Json:
    """What a dataset is called: a repository is a namespace."""
    return {"namespace": f"dataver://{repository}", "name": name}


def dataset_facets(facts: VersionFacts, tables: list[Table], *, made: bool) -> Json:
    """What is said of a version wherever it is named; `made`: it comes to be in this event."""
    owner = facts.field("owner")
    owners = [{"name": owner, "type": "OWNER"}] if owner else []
    owners += [{"name": facts.author, "type": "AUTHOR"}] if facts.author else []
    facets = {
        "version": facet("DatasetVersionDatasetFacet", datasetVersion=facts.id),
        "datasource": facet("DatasourceDatasetFacet", name=f"dataver://{facts.repository}", uri=facts.url),
        "storage": facet(
            "StorageDatasetFacet", storageLayer="dataver", fileFormat="parquet" if tables else None
        ),
        "dataver_version": own_facet(
            "DataverVersionDatasetFacet",
            id=facts.id, tree=facts.tree, version=facts.label, message=facts.message, time=facts.time,
            parents=list(facts.parents), files=facts.files, bytes=facts.bytes, licence=facts.licence,
            sensitivity=facts.field("sensitivity"),
            sources=[filled(source.to_json()) for source in facts.sources],
        ),
    }  # fmt: skip
    if tables:
        facets["schema"] = facet("SchemaDatasetFacet", fields=list(_schema(tables)))
    if facts.time:
        facets["documentation"] = facet("DocumentationDatasetFacet", description=facts.description)
    if owners:
        facets["ownership"] = facet("OwnershipDatasetFacet", owners=owners)
    if made:
        change = "ALTER" if facts.parents else "CREATE"
        facets["lifecycleStateChange"] = facet(
            "LifecycleStateChangeDatasetFacet", lifecycleStateChange=change
        )
    return facets


def _schema(tables: list[Table]) -> Iterator[Json]:
    """The columns; of several tables those of each are below its name."""
    if len(tables) == 1:
        yield from _fields(tables[0])
        return
    for number, table in enumerate(tables, 1):
        yield {
            "name": table.name, "type": "struct", "ordinal_position": number, "fields": list(_fields(table))
        }  # fmt: skip


def _fields(table: Table) -> Iterator[Json]:
    for number, (name, kind) in enumerate(table.columns, 1):
        yield {"name": name, "type": kind, "ordinal_position": number}


# Tables and what they hold


def tables_of(version: Version, *, quick: bool) -> tuple[list[Table], dict[str, TableStatistics]]:
    """The tables of a version, and what those hold of which it is known, by name.

    `quick`: only statistics at hand count, of few tables; else what is missing is computed.
    """
    from dataver.tabular import all_footers, as_one_table, file_statistics

    paths = version.tables()
    looked_at = paths[:QUICK_TABLES_MAX] if quick else paths
    footers = {
        path: footer.columns
        for each in looked_at
        for path, footer in all_footers(version, each)
        if not isinstance(footer, str)
    }
    tables = list(grouped(footers.items()))
    if len(looked_at) < len(paths):
        return tables, {}
    found = dict(zip(footers, file_statistics(version, list(footers), compute=not quick), strict=True))
    known: dict[str, TableStatistics] = {}
    for table in tables:
        parts = [found[path] for path in table.paths]
        if None not in parts:
            try:
                known[table.name] = as_one_table(version, table.paths, parts)
            except BadInputError:
                continue  # It has a footer, and rows that cannot be read.
    return tables, known


def metrics_of(
    name: str, facts: VersionFacts, tables: list[Table], known: dict[str, TableStatistics]
) -> Json | None:
    """The facet of this name with what all columns hold; None where that is not known of every table."""
    if not tables or len(known) < len(tables):
        return None
    columns = {
        column.name if len(tables) == 1 else f"{table.name}.{column.name}": _metrics(column)
        for table in tables
        for column in known[table.name].columns
        if not column.reason
    }
    rows = sum(statistics.rows for statistics in known.values())
    found = facet(name, rowCount=rows, bytes=facts.bytes, fileCount=facts.files)
    return {**found, "columnMetrics": columns}


def _metrics(column: TableColumn) -> Json:
    from dataver.tables.view import SHARES

    points = {str(share): column.quantile(share) for share in SHARES} if column.quantiles.values else {}
    return filled(
        {
            "nullCount": column.nulls,
            "distinctCount": column.distinct,
            "count": column.values + column.nulls,
            "min": _number(column, column.min),
            "max": _number(column, column.max),
            "quantiles": {
                share: value
                for share, point in points.items()
                if (value := _number(column, point)) is not None
            },
        }
    )


def _number(column: TableColumn, value: Any) -> float | None:
    """A value if it is a number to everybody: no time, which would be one of some unit."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if column.spelled(value) == value else None
