"""A life of some datasets by the command line: every operation there is, with secrets wherever one can be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[2]
CANARY = "cAnArYbIrD"
"""In paths, values, messages, arguments, options, URLs and the environment; it must never be sent."""
SECRETS = {
    "AZURE_STORAGE_CONNECTION_STRING": f"AccountName=a;AccountKey={CANARY}account",
    "AZURE_STORAGE_SAS_TOKEN": f"sv=1&sig={CANARY}sas",
    "MY_PASSWORD": f"{CANARY}environment",
    "DATAVER_AUTHOR": f"{CANARY} author <{CANARY}@example.org>",
}


def live(place: Path, environment: Mapping[str, str]) -> None:
    """Live it below a folder, with these variables."""
    import duckdb

    def run(*arguments: str, code: int | None = 0) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "dataver.cli", *arguments],
            cwd=place, env={**os.environ, "PYTHONPATH": str(PROJECT), **SECRETS, **environment},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code or (code is None and done.returncode), (arguments, done.stderr)

    place.mkdir()
    data = place / "data"
    data.mkdir()
    (data / f"{CANARY}.csv").write_text(f"{CANARY}\n" * 1000)
    run("init")
    for far in (0, 3):
        # Shares of the text that move by so little that a test of them finds no drift.
        text = f"'{CANARY}' || (range % 60 < {20 + far // 3})"
        values = f"select range as steady, range + {far * 400} as moving, {text} as text"
        duckdb.sql(f"copy ({values} from range(1000)) to '{data / 't.parquet'}' (format parquet)")
        run("commit", "iris", "data", "-m", f"{CANARY} message", "--meta", f"key={CANARY}", "--stats")
    run("commit", "other", "data", "--into", CANARY, "--storage-option", f"account_key={CANARY}option")
    train = f"open('model', 'w').write('weights'); '{CANARY} argument'"
    run(
        "run", "--name", f"train {CANARY}environment", "--param", f"password={CANARY}",
        "--input", "iris@v1=training", "--input", "iris@v2=testing",
        "--model", "churn=model", "--output", "made=data",
        "--", sys.executable, "-c", train,
    )  # fmt: skip
    run("ls", "iris@v1")
    run("ls", "iris@v1")
    run("ls", "iris@v9", code=3)
    for verb in (["ls"], ["verify"], ["merge"], ["export", "cyclonedx"], ["prune", "--keep-last", "1"]):
        run(*verb, f"{CANARY}/model.csv", code=3)
    run("cat", "iris@v1", f"{CANARY}.csv")
    run("checkout", "iris@v1", f"{CANARY}/out")
    run("checkout", "iris@v1", f"data/{CANARY}.csv", code=6)
    run("drift", "iris@v1", "iris@v2")
    run("drift", "iris@v1", "iris@v2", "--metric", "chi2")
    run("audit", "churn@v1")
    run("audit", "model")
    run("audit", f"{CANARY}/out", code=3)
    run("verify", "iris@v1", "--at", f"{CANARY}/out")
    (place / CANARY / "out" / "t.parquet").write_bytes(b"others")
    run("verify", "iris@v1", "--at", f"{CANARY}/out", code=5)
    run("branch", "iris@v1", "side")
    run("merge", "iris@side")
    run("revert", "iris@v1")
    run("init", f"{CANARY}/copy")
    run("push", "--to", f"{CANARY}/copy")
    run("pull", "--from", f"{CANARY}/copy")
    run(
        "pull", "--from", f"http://user:{CANARY}@127.0.0.1:9/x?sig={CANARY}", code=None
    )  # it fails, one way or another
    run("prune", "made", "--keep-last", "1")
    run("commit", "made", "data/t.parquet")
    run("prune", "made", "--keep-last", "1", "--yes")
    run("gc")
    run("erase", "other", f"{CANARY}/{CANARY}.csv", "--reason", CANARY, "--all-holders", "--yes")
    run("delete", "other")
    for pack in (place / ".dataver" / "packs").rglob("*"):
        if pack.is_file():
            pack.chmod(0o600)
            pack.write_bytes(bytes(byte ^ 1 for byte in pack.read_bytes()))
    run("verify", "--deep", code=5)
    run("repair", code=5)
