"""Azurite, the emulator of Azure Blob Storage: the real requests and answers, on this machine."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

PROGRAM = Path(__file__).parents[1] / ".azurite" / "node_modules" / ".bin" / "azurite-blob"
ACCOUNT = "devstoreaccount1"
# The key that is built into the emulator and stands in its documentation.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
OPTIONS = [
    "--blobHost",
    "127.0.0.1",
    "--blobPort",
    "0",
    "--skipApiVersionCheck",
    "--silent",
    "--disableTelemetry",
]


@dataclass(frozen=True, slots=True)
class Azurite:
    """A service that listens at `port` of 127.0.0.1."""

    port: int

    @classmethod
    @contextmanager
    def started(cls, folder: Path | None = None) -> Iterator[Azurite]:
        """Start one on a free port, with its data in `folder` or in memory; end it afterwards."""
        assert PROGRAM.exists(), f"{PROGRAM} is missing: `make test` installs it, which needs node and npm"
        where = ["--inMemoryPersistence"] if folder is None else ["--location", str(folder)]
        process = subprocess.Popen(
            [str(PROGRAM), *OPTIONS, *where], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert process.stdout is not None
            printed = []
            for line in process.stdout:
                printed.append(line)
                found = re.search(r"successfully listens on http://127\.0\.0\.1:(\d+)", line)
                if found:
                    yield cls(int(found[1]))
                    break
            else:
                raise AssertionError(f"azurite-blob ended before it listened: {''.join(printed)}")
        finally:
            # Asked to end it waits for every connection that a client keeps open, for as long as that takes.
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    @property
    def connection_string(self) -> str:
        """With the account's key."""
        return self.through(self.port)

    def through(self, port: int) -> str:
        """A connection string that leads over another port: a proxy's."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        )

    def container(self) -> str:
        """The name of a container that nobody else has; it is not made yet."""
        return f"t{os.getpid()}-{uuid4().hex}"
