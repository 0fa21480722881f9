"""The bundle of an audit where there is no dataver: a bare virtual environment with blake3 alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import blake3
import pytest

import dataver
from dataver.lineage.audit import audit
from dataver.lineage.bundle import bundle
from tests import runs

Run = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that can import blake3 and nothing else."""
    place = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "env"], check=True)
    package = Path(blake3.__file__).parent
    shutil.copytree(package, place / "alone" / package.name)
    [site] = (place / "env").glob("lib/python*/site-packages")
    (site / "alone.pth").write_text(f"{place / 'alone'}\n")
    python = place / "env" / "bin" / "python"
    tried = subprocess.run(
        [python, "-I", "-c", "import blake3\ntry: import dataver\nexcept ImportError: print('bare')"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert tried.stdout == "bare\n"
    return python


def verify(python: Path, folder: Path, *arguments: str) -> Run:
    return subprocess.run(
        [python, "-I", folder / "verify.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_bundle_is_checked_without_dataver(tmp_path: Path, bare: Path) -> None:
    repository = dataver.init(str(tmp_path / "repository"))
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("a\n1\n")
    (data / "b.csv").write_text("a\n2\n")
    repository.commit("iris", data, message="first")
    runs.record(repository, [runs.read(repository, "iris@v1")], [runs.model("churn", {"m.bin": b"1"})])
    zipped, folder = tmp_path / "audit.zip", tmp_path / "unpacked"
    zipped.write_bytes(bundle(audit(repository, "churn", verify=True)))
    shutil.rmtree(tmp_path / "repository")
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(folder)

    good = verify(bare, folder)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("OK\n")
    assert "iris@v1" in good.stdout
    assert verify(bare, folder, str(zipped)).stdout == good.stdout
    one = verify(bare, folder, str(zipped), "--file", "a.csv", "iris@v1", str(data / "a.csv"))
    assert one.returncode == 0
    assert "'a.csv' of iris@v1" in one.stdout
    wrong = verify(bare, folder, "--file", "a.csv", "iris@v1", str(data / "b.csv"))
    assert wrong.returncode == 1
    assert "FAILED" in wrong.stdout

    original = zipped.read_bytes()
    for at in range(3, len(original), len(original) // 8):
        changed = bytearray(original)
        changed[at] ^= 0x10
        zipped.write_bytes(changed)
        bad = verify(bare, folder, str(zipped))
        assert (bad.returncode, bad.stdout[:6]) == (1, "FAILED")
    for member in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "verify.py"):
        kept = member.read_bytes()
        member.write_bytes(kept + b" ")
        assert verify(bare, folder).returncode == 1, member
        member.write_bytes(kept)
    script = folder / "verify.py"
    script.write_bytes(script.read_bytes() + b"# a word more\n")
    assert "verify.py was changed" in verify(bare, folder).stdout
