"""Tags on every run of MLflow, with no code of the user's."""

from __future__ import annotations

from mlflow.tracking.context.abstract_context import RunContextProvider

LOCK_TAG = "dataver.lock"


class DataverRunContext(RunContextProvider):  # type: ignore[misc] # MLflow is not there where types are checked
    """Which lock file the run's folder has. Never raises: a run must not fail for its tags."""

    def in_context(self) -> bool:
        """Whether there is anything to say, which costs a look at some folders."""
        from dataver.pins import lock_path

        return lock_path() is not None

    def tags(self) -> dict[str, str]:
        """`dataver.lock`: the digest of the lock file, as `b3sum` prints it."""
        from dataver.hashing import blake3_digest
        from dataver.pins import lock_path

        path = lock_path()
        if path is None:
            return {}
        try:
            with open(path, "rb") as file:
                return {LOCK_TAG: str(blake3_digest(file.read()))}
        except OSError:
            return {}
