"""dataver: versions of datasets that cannot drift, tied to the runs and models that used them.

    import dataver

    repository = dataver.open()
    repository.commit("iris", "data/iris", message="first")
    version = dataver.resolve("iris@v1")

Everything is imported when it is first used, so that importing this costs nothing.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # `typing` alone would double what this import takes
if TYPE_CHECKING:
    from typing import Any

    from dataver import errors as errors
    from dataver.format.provenance import Source as Source
    from dataver.repository import Repository as Repository
    from dataver.repository import init as init
    from dataver.repository import open_repository as open  # noqa: A004 - the name users import
    from dataver.repository import resolve as resolve
    from dataver.running import Run as Run
    from dataver.running import run as run
    from dataver.splits.definition import ColumnSplit as ColumnSplit
    from dataver.splits.definition import HashSplit as HashSplit
    from dataver.splits.definition import ListSplit as ListSplit
    from dataver.splits.definition import TimeSplit as TimeSplit
    from dataver.tables.writer import write_parquet as write_parquet
    from dataver.version import Version as Version

__version__ = "0.1.0"

_HOMES = {
    "ColumnSplit": ("dataver.splits.definition", "ColumnSplit"),
    "HashSplit": ("dataver.splits.definition", "HashSplit"),
    "ListSplit": ("dataver.splits.definition", "ListSplit"),
    "Repository": ("dataver.repository", "Repository"),
    "Run": ("dataver.running", "Run"),
    "Source": ("dataver.format.provenance", "Source"),
    "TimeSplit": ("dataver.splits.definition", "TimeSplit"),
    "Version": ("dataver.version", "Version"),
    "errors": ("dataver.errors", None),
    "init": ("dataver.repository", "init"),
    "mlflow": ("dataver.integrations.mlflow", None),
    "open": ("dataver.repository", "open_repository"),
    "resolve": ("dataver.repository", "resolve"),
    "run": ("dataver.running", "run"),
    "write_parquet": ("dataver.tables.writer", "write_parquet"),
}

__all__ = [
    "ColumnSplit",
    "HashSplit",
    "ListSplit",
    "Repository",
    "Run",
    "Source",
    "TimeSplit",
    "Version",
    "__version__",
    "errors",
    "init",
    "open",
    "resolve",
    "run",
    "write_parquet",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dataver' has no attribute {name!r}")
    module = import_module(home[0])
    value = module if home[1] is None else getattr(module, home[1])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
