"""Read two versions of a data set straight from the repository, without a checkout.

python read_version.py
"""

from __future__ import annotations

import fsspec
from pyarrow import parquet

import dataver

first = dataver.resolve("flowers@v1")
print(f"{first.name} is {first.id}")
for file in first.files("photos/"):
    print(f"  {file.path}: {file.size:,} bytes, BLAKE3 {file.digest[:16]}...")

# One Parquet file as a table.
before = first.to_arrow("tables/iris.parquet")
after = dataver.resolve("flowers@latest").to_arrow("tables/iris.parquet")
print(f"iris had {before.num_rows} flowers in v1, and has {after.num_rows} now")

# Any file, by its URL: pandas, DuckDB, Polars and Dask read the same URLs.
with fsspec.open("dataver://flowers@v1/tables/iris.csv", "rt") as text:
    print("first line of iris.csv:", text.readline().rstrip())
with fsspec.open("dataver://flowers@v1/tables/wine_data.parquet") as file:
    print("columns of wine_data.parquet:", ", ".join(parquet.ParquetFile(file).schema_arrow.names[:4]), "...")
