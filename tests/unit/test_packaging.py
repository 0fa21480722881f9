"""What pip installs agrees with the code: version, program and plug-ins."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points, version

import dataver


def test_version_is_that_of_the_package() -> None:
    assert dataver.__version__ == version("dataver")


def test_entry_points_name_what_exists() -> None:
    program = entry_points(group="console_scripts", name="dataver")["dataver"]
    assert callable(program.load())
    protocol = entry_points(group="fsspec.specs", name="dataver")["dataver"]
    assert protocol.load().protocol == "dataver"


def test_every_public_name_is_there() -> None:
    assert all(getattr(dataver, name) is not None for name in dataver.__all__)


def test_import_brings_nothing_but_itself() -> None:
    script = "import sys; before = set(sys.modules); import dataver; print(*(set(sys.modules) - before))"
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert {name.partition(".")[0] for name in answer.stdout.split()} <= set(sys.stdlib_module_names) | {
        "dataver"
    }
    assert {name for name in answer.stdout.split() if name.startswith("dataver")} == {"dataver"}
