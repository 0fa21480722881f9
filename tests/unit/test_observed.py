"""Operations are seen by an observer, which can neither change nor fail them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import dataver
from dataver import progress
from dataver.errors import AlreadyExistsError, RefNotFoundError
from dataver.progress import observe_with


class Watching:
    """Notes what it sees; each operation as its name and what came of it, in the order of their ends."""

    def __init__(self) -> None:
        self.arguments: list[Mapping[str, Any]] = []
        self.seen: list[tuple[str, Any]] = []

    def began(self, operation: str, arguments: Mapping[str, Any]) -> str:
        self.arguments.append(arguments)
        return operation

    def ended(self, begun: str, result: Any, error: BaseException | None) -> None:
        self.seen.append((begun, result if error is None else type(error)))


class Failing:
    """Fails at whatever it is told."""

    def began(self, operation: str, arguments: Mapping[str, Any]) -> None:
        raise RuntimeError("no")

    def ended(self, begun: object, result: Any, error: BaseException | None) -> None:
        raise RuntimeError("no")


@pytest.fixture
def watching() -> Iterator[Watching]:
    found = Watching()
    before = observe_with(found)
    yield found
    observe_with(before)


@pytest.fixture
def repository(tmp_path: Path) -> dataver.Repository:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a\n1\n")
    found = dataver.init(tmp_path / "repository")
    found.commit("iris", tmp_path / "data", tags=["first"])
    return found


def test_an_observer_sees_what_operations_are_given_and_give(
    repository: dataver.Repository, tmp_path: Path, watching: Watching
) -> None:
    (tmp_path / "data" / "b.csv").write_text("b\n")
    made = repository.commit("iris", source=tmp_path / "data")
    repository.checkout("iris@v2", tmp_path / "out")
    assert [operation for operation, _ in watching.seen] == ["commit", "resolve", "checkout"]
    assert watching.seen[0][1] == made
    assert watching.seen[1][1].canonical == "iris@v2"
    assert watching.seen[2][1].files == 2
    assert watching.arguments[0]["dataset"] == "iris"
    assert watching.arguments[1]["text"] == "iris@v2"
    assert watching.arguments[2]["resolved"].name == "iris"


def test_an_observer_sees_errors_and_the_caller_gets_them(
    repository: dataver.Repository, tmp_path: Path, watching: Watching
) -> None:
    with pytest.raises(RefNotFoundError):
        repository.version("iris@v9")
    with pytest.raises(AlreadyExistsError):
        repository.commit("iris", tmp_path / "data", tags=["first"], allow_empty=True)
    with pytest.raises(TypeError, match="no_such_option"):
        repository.verify(no_such_option=True)  # type: ignore[call-arg]
    assert watching.seen == [
        ("resolve", RefNotFoundError),
        ("commit", AlreadyExistsError),
        ("verify", TypeError),
    ]


def test_what_an_operation_calls_lies_within_it(
    repository: dataver.Repository, tmp_path: Path, watching: Watching
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "data" / "t.parquet")
    repository.commit("iris", tmp_path / "data")
    watching.seen.clear()
    repository.drift("iris@v2", "iris@v2", "t.parquet")
    assert [operation for operation, _ in watching.seen] == ["resolve", "resolve", "drift"]
    for operation in (
        "verify",
        "gc",
        "prune",
        "push",
        "audit",
        "merge",
        "revert",
        "repair",
        "erase",
        "delete",
    ):
        watching.seen.clear()
        _do(repository, operation, tmp_path)
        assert watching.seen[-1][0] == operation


def _do(repository: dataver.Repository, operation: str, tmp_path: Path) -> None:
    if operation == "prune":
        from dataver.gc.prune import Retention

        repository.prune("iris", Retention(last=5))
    elif operation == "push":
        repository.push(to=dataver.init(tmp_path / "other"))
    elif operation == "audit":
        assert not repository.audit(tmp_path / "data" / "a.csv")
    elif operation in ("merge", "revert"):
        getattr(repository, operation)("iris@v1")
    elif operation == "erase":
        repository.erase("iris", "a.csv", reason="asked")
    elif operation == "delete":
        repository.delete_dataset("iris")
    else:
        getattr(repository, operation)()


def test_an_observer_that_fails_is_a_warning(repository: dataver.Repository, tmp_path: Path) -> None:
    before = observe_with(Failing())
    try:
        with pytest.warns(UserWarning, match="the observer of operations failed, RuntimeError: no"):
            assert repository.version("iris@v1").name == "iris@v1"
    finally:
        observe_with(before)


def test_operations_look_as_they_are_written() -> None:
    assert list(inspect.signature(dataver.Repository.commit).parameters)[:3] == ["self", "dataset", "source"]
    assert dataver.Repository.verify.__doc__ is not None
    assert dataver.Repository.verify.__module__ == "dataver.upkeep"


@pytest.mark.parametrize("said", ["none", "off", " None "])
def test_nobody_is_looked_for_where_telemetry_is_off(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", inspect)  # any module: as if it were imported
    monkeypatch.setattr(progress, "_found", [Watching()])
    assert progress.observer() is not None
    monkeypatch.setenv("DATAVER_TELEMETRY", said)
    assert progress.observer() is None


def test_an_observer_that_is_not_to_be_loaded_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    class Entry:
        name = "broken"

        def load(self) -> Any:
            raise ImportError("no such module")

    monkeypatch.setitem(sys.modules, "opentelemetry.trace", inspect)
    monkeypatch.setattr(progress, "_found", None)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [Entry()])
    with pytest.warns(UserWarning, match="the observer broken of dataver.observers was not loaded"):
        assert progress.observer() is None
    assert progress.observer() is None  # It is told once.


def test_who_has_no_opentelemetry_loads_nothing_for_it(tmp_path: Path) -> None:
    script = """
import sys
import dataver
repository = dataver.init("repository")
repository.commit("iris", "data")
repository.checkout("iris", "out")
repository.verify()
print(*sorted(name for name in sys.modules if "telemetry" in name or name == "importlib.metadata"))
"""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a\n")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "\n"
