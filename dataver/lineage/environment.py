"""What a run ran in: the interpreter, its packages, the files that pin them, the machine."""

from __future__ import annotations

import inspect
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from dataver.format.run_record import Environment, LockedBy, part_digest
from dataver.hashing import FileHasher
from dataver.lineage import packages
from dataver.lineage.masking import mask_listing, mask_text

__all__ = ["VARIABLES", "VARIABLES_VARIABLE", "capture_environment", "interpreter_of"]

VARIABLES_VARIABLE = "DATAVER_RUN_VARIABLES"
VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG", "CUDA_VISIBLE_DEVICES", "LOCAL_RANK", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED",
    "PYTORCH_CUDA_ALLOC_CONF", "RANK", "SLURM_JOB_ID", "TF_CUDNN_DETERMINISTIC", "TF_DETERMINISTIC_OPS", "TZ",
    "WORLD_SIZE",
)  # fmt: skip
"""Of the environment these are recorded, and those that `DATAVER_RUN_VARIABLES` names; no others."""
LOCK_FILES = (
    "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "conda-lock.yml", "pixi.lock", "dataver.lock",
)  # fmt: skip
LOCK_FILES_MAX = 50
INTERPRETER_TIMEOUT_S = 20.0
GPU_TIMEOUT_S = 3.0


def capture_environment(folder: str, command: Sequence[str] = ()) -> tuple[Environment, list[bytes]]:
    """The environment of a command begun in a folder, and the parts that the answer names: its packages.

    Without a command, or where its interpreter is this one, that of this process.
    """
    python, implementation, releases = _asked(interpreter_of(command) if command else None)
    listing = "".join(f"{name}=={version}\n" for name, version in sorted(releases.items(), key=_by_name))
    part = mask_listing(listing).encode()
    found = Environment(
        python=python,
        implementation=implementation,
        platform=platform.platform(),
        packages=str(part_digest(part)),
        locks=tuple(_locks(folder)),
        variables=_variables(),
        hardware=_hardware(),
        dataver=str(getattr(sys.modules["dataver"], "__version__", "")),
    )
    return found, [part]


def interpreter_of(command: Sequence[str]) -> str | None:
    """The Python of a command: itself, that of its first line, else the one on `PATH`; None: this one."""
    program = shutil.which(command[0]) or ""
    name = os.path.basename(command[0])
    if not name.startswith(("python", "pypy")):
        program = _of_first_line(program) or shutil.which("python") or shutil.which("python3") or ""
    same = not program or os.path.abspath(program) == os.path.abspath(sys.executable)
    return None if same else program


def _of_first_line(program: str) -> str:
    try:
        with open(program, "rb") as file:
            line = file.readline(500)
    except OSError:
        return ""
    if not line.startswith(b"#!"):
        return ""
    words = line[2:].decode("utf-8", "replace").split()
    if len(words) > 1 and os.path.basename(words[0]) == "env":
        words = words[1:]
    found = shutil.which(words[0]) if words and "python" in os.path.basename(words[0]) else None
    return found or ""


def _asked(interpreter: str | None) -> tuple[str, str, dict[str, str]]:
    if interpreter is not None:
        try:
            done = subprocess.run(
                [interpreter, "-c", inspect.getsource(packages)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=INTERPRETER_TIMEOUT_S,
                check=True,
            )
            version, implementation, found = json.loads(done.stdout)
            return str(version), str(implementation), {str(k): str(v) for k, v in found.items()}
        except (OSError, subprocess.SubprocessError, ValueError):
            pass  # It is no Python that answers; what is known of this one is better than nothing.
    return packages.interpreter()


def _by_name(item: tuple[str, str]) -> tuple[str, str]:
    return item[0].lower(), item[0]


def _locks(folder: str) -> list[LockedBy]:
    """The files that pin packages or data, in the folder and above it up to where git or a project begins."""
    found: list[LockedBy] = []
    here = os.path.abspath(folder)
    above = ""
    while True:
        try:
            names = sorted(os.listdir(here))
        except OSError:
            names = []
        for name in names:
            requirements = name.startswith("requirements") and name.endswith(".txt")
            if (name in LOCK_FILES or requirements) and len(found) < LOCK_FILES_MAX:
                digest = _file_digest(os.path.join(here, name))
                if digest:
                    found.append(LockedBy(above + name, digest))
        parent = os.path.dirname(here)
        if {".git", "pyproject.toml"}.intersection(names) or parent == here or len(above) >= 3 * 8:
            return found
        here, above = parent, f"../{above}"


def _file_digest(path: str) -> str:
    hasher = FileHasher()
    try:
        with open(path, "rb") as file:
            while data := file.read(1 << 20):
                hasher.update(data)
    except OSError:
        return ""
    return str(hasher.digest())


def _variables() -> dict[str, str]:
    named = [name.strip() for name in os.environ.get(VARIABLES_VARIABLE, "").split(",")]
    wanted = [*VARIABLES, *filter(None, named)]
    return {name: mask_text(os.environ[name]) for name in sorted(set(wanted)) if name in os.environ}


def _hardware() -> dict[str, Any]:
    found: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count() or 0}
    cpu = _cpu()
    if cpu:
        found["cpu"] = cpu
    if hasattr(os, "sysconf"):
        try:
            found["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (OSError, ValueError):
            found.pop("memory_bytes", None)
    gpus = _gpus()
    if gpus:
        found["gpus"] = gpus
    return found


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return platform.processor()


def _gpus() -> list[dict[str, str]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GPU_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 3:
            found.append(dict(zip(("name", "memory", "driver"), fields, strict=True)))
    return found
