"""Write the Parquet file of each CSV file named, beside it.

python to_parquet.py FILE.csv...
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyarrow import csv, parquet

# The first line of these files counts rows and columns and names the classes; it has no column names.
IRIS = ["sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm", "species"]
WINE = [
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280_od315",
    "proline",
    "cultivar",
]
COLUMNS_OF = {"iris.csv": IRIS, "wine_data.csv": WINE}


def to_parquet(source: Path) -> None:
    """Read the CSV file `source` and write the same rows and named columns as Parquet."""
    columns = COLUMNS_OF[source.name]
    table = csv.read_csv(source, read_options=csv.ReadOptions(column_names=columns, skip_rows=1))
    target = source.with_suffix(".parquet")
    parquet.write_table(table, target)
    print(f"{target.stat().st_size:>9,} bytes  {target}: {table.num_rows} rows, {table.num_columns} columns")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        to_parquet(Path(argument))
