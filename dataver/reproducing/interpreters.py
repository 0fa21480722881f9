"""The Python that a run is repeated with: the one that is here, or a new one made from the lock."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from dataver.errors import NotFoundError, RefNotFoundError
from dataver.format.run_record import Environment
from dataver.hashing import blake3_digest
from dataver.lineage.environment import VARIABLES
from dataver.lineage.masking import MASK
from dataver.values import dataclass

__all__ = ["Interpreter", "lock_of", "new_environment", "variables_of"]

UV_LOCK, REQUIREMENTS = "uv.lock", "requirements.txt"
OF_THE_MACHINE = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")
"""Recorded, and of no use on another machine, or at another time."""
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`python` is None for the one that the command finds; `how` says in words what it is."""

    python: str | None
    how: str


def variables_of(environment: Environment | None, python: str | None) -> dict[str, str | None]:
    """The variables to set, and those to unset, which are None: as they were in the run."""
    if environment is None:
        return {}
    found: dict[str, str | None] = {}
    for name in {*VARIABLES, *environment.variables}:
        value = environment.variables.get(name)
        if name not in OF_THE_MACHINE and MASK not in (value or ""):
            found[name] = value
    if python is not None:
        folder = os.path.dirname(python)
        found |= {
            "PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)]),
            "VIRTUAL_ENV": os.path.dirname(folder),
            "PYTHONHOME": None,
        }
    return found


def lock_of(environment: Environment | None, folder: str) -> str | None:
    """The file with the packages of the run that can be installed here, if it is there as it was."""
    if environment is None:
        return None
    names = [lock.path for lock in environment.locks if _is_there(folder, lock.path, lock.digest)]
    wanted = [name for name in names if os.path.basename(name) == UV_LOCK and shutil.which("uv")]
    requirements = [name for name in names if os.path.basename(name).startswith("requirements")]
    exact = [name for name in requirements if os.path.basename(name) == REQUIREMENTS]
    return next(iter([*wanted, *exact, *requirements]), None)


def _is_there(folder: str, name: str, digest: str) -> bool:
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return str(blake3_digest(file.read())) == digest
    except OSError:
        return False


def new_environment(
    environment: Environment,
    packages: Mapping[str, str],
    folder: str,
    target: str,
    tell: Callable[[str], None],
) -> Interpreter:
    """Make a virtual environment in `target` with the packages that the run had.

    From `uv.lock` if uv is there, else from requirements, with the releases that were recorded; without
    either, from the record alone. `NotFoundError` where something cannot be had.
    """
    lock = lock_of(environment, folder)
    base = _base(environment.python)
    python = os.path.join(target, "Scripts" if os.name == "nt" else "bin", "python")
    if lock is not None and os.path.basename(lock) == UV_LOCK:
        tell(f"installing the packages of {lock} with uv")
        variables = {"UV_PROJECT_ENVIRONMENT": target, "VIRTUAL_ENV": target}
        where = os.path.dirname(os.path.join(folder, lock))
        _run(["uv", "sync", "--frozen", "--quiet", "--python", base], where, variables, lock)
        return Interpreter(python, f"a new one from {lock}, with uv")
    pins = [f"{name}=={version}" for name, version in packages.items()]
    pins = [pin for pin in pins if _PINNED.fullmatch(pin)]
    if lock is None and not pins:
        raise RefNotFoundError(
            "the run recorded no packages, and no lock file that is in its commit; --env keep takes the "
            "Python that is here"
        )
    _run([base, "-m", "venv", "--clear", target], folder, {}, "a virtual environment")
    listed = os.path.join(target, "recorded.txt")
    with open(listed, "w", encoding="utf-8") as file:
        file.write("".join(f"{pin}\n" for pin in pins))
    what = lock or "the record"
    tell(f"installing the packages of {what} with pip")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    if lock is None:
        _run([*install, "--no-deps", "-r", listed], folder, {}, what)
        return Interpreter(python, "a new one with the packages that were recorded")
    with open(os.path.join(folder, lock), encoding="utf-8", errors="replace") as file:
        hashed = "--hash" in file.read()
    # A file with hashes names each release itself, and takes no constraints without hashes.
    held = [] if hashed else ["-c", listed]
    _run(
        [*install, "-r", os.path.basename(lock), *held], os.path.dirname(os.path.join(folder, lock)), {}, lock
    )
    return Interpreter(python, f"a new one from {lock}")


def _base(version: str) -> str:
    """The Python of the recorded release if there is one here, else this one."""
    wanted = version.split(".")[:2]
    if wanted == [str(part) for part in sys.version_info[:2]] or len(wanted) != 2:
        return sys.executable
    return shutil.which(f"python{'.'.join(wanted)}") or sys.executable


def _run(command: Sequence[str], folder: str, variables: Mapping[str, str], what: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder or ".",
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except OSError as error:
        raise NotFoundError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        told = done.stdout.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise NotFoundError(
            f"{what} cannot be made here: {' '.join(told) or f'exit code {done.returncode}'}; --env keep "
            "takes the Python that is here"
        )
