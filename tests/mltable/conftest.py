"""Azure's own engine for tables. These tests run in an environment of their own, which `make test` makes."""

from __future__ import annotations

from importlib.util import find_spec

import pytest  # noqa: TC002 - as every conftest has it

# Where it is not, the rest of the tests runs.
collect_ignore_glob = [] if find_spec("mltable") else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Warnings that the engine itself gives or brings about are not ours to mend."""
    config.addinivalue_line(
        "filterwarnings", r"ignore:::(azure|azureml|mltable|msrest|pkg_resources)(\..*)?$"
    )
