"""`dataver://` and versions in other processes: with no import of dataver, in workers, without extras."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from dataver.repository import Repository, init

ROWS = 3_000
SUM = sum(range(ROWS))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """`vision/rows` with a folder of Parquet and one of CSV files, each of three parts."""
    root = tmp_path_factory.mktemp("processes")
    for number in range(3):
        part = pandas.DataFrame({"id": range(number * 1000, number * 1000 + 1000), "part": number})
        for folder in ("train", "csv"):
            (root / "data" / folder).mkdir(parents=True, exist_ok=True)
        part.to_parquet(root / "data" / "train" / f"{number}.parquet", row_group_size=100)
        part.to_csv(root / "data" / "csv" / f"{number}.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAVER_CACHE_DIR", str(root / "cache"))
        repository = init(str(root / "repository"))
        repository.commit("vision/rows", root / "data")
    return repository


def run(repository: Repository, tmp_path: Path, script: str, **environment: str) -> str:
    """What a program prints that stands in a file, as worker processes import it again."""
    program = tmp_path / "program.py"
    program.write_text(script, encoding="utf-8")
    home = str(tmp_path / "home")
    variables = {
        "DATAVER_REPO": repository.url,
        "HF_HOME": home,
        "HF_DATASETS_CACHE": home,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(Path.cwd())])),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program)],
        cwd=tmp_path,
        env=os.environ | variables | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


WITHOUT_IMPORT = {
    "pandas": """
import pandas
frame = pandas.read_parquet("dataver://vision/rows@v1/train/")
assert len(pandas.read_csv("dataver://vision/rows@v1/csv/0.csv")) == 1000
total = frame["id"].sum()
""",
    "pyarrow": """
from pyarrow import dataset
import fsspec
system = fsspec.filesystem("dataver")
total = sum(dataset.dataset("vision/rows@v1/train", filesystem=system).to_table()["id"].to_pylist())
""",
    "duckdb": """
import duckdb, fsspec
duckdb.register_filesystem(fsspec.filesystem("dataver"))
total = duckdb.sql("select sum(id) from 'dataver://vision/rows@v1/train/*.parquet'").fetchall()[0][0]
assert duckdb.sql("select sum(id) from 'dataver://vision/rows@v1/csv/*.csv'").fetchall() == [(total,)]
""",
    "polars": """
import fsspec, polars
from pyarrow import dataset
system = fsspec.filesystem("dataver")
with fsspec.open("dataver://vision/rows@v1/train/1.parquet") as file:
    assert polars.read_parquet(file)["id"].to_list() == list(range(1000, 2000))
lazy = polars.scan_pyarrow_dataset(dataset.dataset("vision/rows@v1/train", filesystem=system))
total = lazy.select(polars.col("id").sum()).collect().item()
""",
    "dask": """
from dask import dataframe
total = dataframe.read_parquet("dataver://vision/rows@v1/train/")["id"].sum().compute()
assert dataframe.read_csv("dataver://vision/rows@v1/csv/*.csv")["id"].sum().compute() == total
""",
    "datasets": """
import datasets
pattern = "dataver://vision/rows@v1/train/*.parquet"
rows = datasets.load_dataset("parquet", data_files=pattern, split="train", streaming=True)
total = sum(row["id"] for row in rows)
""",
}


@pytest.mark.parametrize("library", WITHOUT_IMPORT)
def test_a_fresh_interpreter(repository: Repository, tmp_path: Path, library: str) -> None:
    start = "import sys\nassert not any(name.partition('.')[0] == 'dataver' for name in sys.modules)\n"
    assert run(repository, tmp_path, start + WITHOUT_IMPORT[library] + "print(int(total))") == f"{SUM}\n"


def test_dask_in_processes(repository: Repository, tmp_path: Path) -> None:
    """What the refs meant here, they mean in the workers, which are spawned."""
    script = """
from dask import config, dataframe

if __name__ == "__main__":
    with config.set(scheduler="processes", num_workers=2):
        rows = dataframe.read_parquet("dataver://vision/rows@latest/train/")
        lines = dataframe.read_csv("dataver://vision/rows@latest/csv/*.csv")
        print(int(rows["id"].sum().compute()), int(lines["id"].sum().compute()))
"""
    assert run(repository, tmp_path, script) == f"{SUM} {SUM}\n"


@pytest.mark.parametrize("way", ["fork", "spawn", "forkserver"])
def test_workers(repository: Repository, tmp_path: Path, way: str) -> None:
    """The file system, the version, a lazy frame, a dataset and a local copy, each used in three workers."""
    # Polars itself does not work in a forked process.
    lazy = "" if way == "fork" else f'version.to_polars("train", lazy=True).collect()["id"].sum() == {SUM},'
    script = f"""
import multiprocessing, os
import fsspec

def read(work):
    system, version, dataset, number = work
    found = [
        len(system.cat(f"vision/rows@latest/train/{{number}}.parquet")) > 0,
        version.to_pandas(f"train/{{number}}.parquet")["part"].unique().tolist() == [number],
        dataset.count_rows() == {ROWS},
        {lazy}
        version.path("csv").joinpath("0.csv").stat().st_size > 0,
    ]
    return os.getpid(), found

if __name__ == "__main__":
    import dataver
    version = dataver.resolve("vision/rows@v1")
    system = fsspec.filesystem("dataver")
    system.cat("vision/rows@latest/train/0.parquet")
    version.path("csv")
    context = multiprocessing.get_context("{way}")
    with context.Pool(3) as pool:
        work = [(system, version, version.dataset("train"), number % 3) for number in range(6)]
        found = pool.map(read, work, chunksize=1)
    assert os.getpid() not in [process for process, _ in found]
    print(all(all(right) for _, right in found))
"""
    assert run(repository, tmp_path, script) == "True\n"


# Without the libraries

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{library}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import dataver
version = dataver.resolve("vision/rows@v1")
try:
    {use}
except dataver.errors.MissingExtraError as error:
    assert isinstance(error, ImportError) and error.exit_code == 2
    print(error)
print(version.to_arrow("train").num_rows)
"""
USES = [
    ("pandas", 'version.to_pandas("train")'),
    ("pandas", 'version.split("a", dataver.HashSplit(["id"], parts={"a": 1}, path="train")).to_pandas()'),
    ("polars", 'version.to_polars("train")'),
    ("polars", 'version.to_polars("train", lazy=True)'),
    ("polars", 'version.split("a", dataver.HashSplit(["id"], parts={"a": 1}, path="train")).to_polars()'),
]


@pytest.mark.parametrize(("library", "use"), USES)
def test_a_library_that_is_missing(repository: Repository, tmp_path: Path, library: str, use: str) -> None:
    message, rows = run(repository, tmp_path, WITHOUT.format(library=library, use=use)).splitlines()
    assert f"pip install 'dataver[{library}]'" in message
    assert rows == str(ROWS)
