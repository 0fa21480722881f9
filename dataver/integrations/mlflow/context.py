"""Tags on every run of MLflow, with no code of the user's."""

from __future__ import annotations

from contextlib import suppress

from mlflow.tracking.context.abstract_context import RunContextProvider

from dataver import recording
from dataver.hashing import blake3_digest
from dataver.integrations.mlflow_plugins import linking
from dataver.pins import lock_path

LOCK_TAG = "dataver.lock"


class DataverRunContext(RunContextProvider):  # type: ignore[misc] # MLflow is not there where types are checked
    """Which lock file the run's folder has, and which run of dataver it is part of.

    Never raises: a run must not fail for its tags.
    """

    def in_context(self) -> bool:
        """Whether there is anything to say, which costs a look at some folders."""
        return linking() and (recording.active is not None or lock_path() is not None)

    def tags(self) -> dict[str, str]:
        """`dataver.lock`: the digest of the lock file, as `b3sum` has it; `dataver.run`: the id of the run.

        From here on the runs and models of this process are noted in that run.
        """
        tags = {}
        path = lock_path()
        if path is not None:
            with suppress(OSError), open(path, "rb") as file:
                tags[LOCK_TAG] = str(blake3_digest(file.read()))
        if recording.active is not None:
            from dataver.integrations.mlflow.linked_runs import RUN_TAG, wrap

            wrap()
            tags[RUN_TAG] = recording.active.run
        return tags
