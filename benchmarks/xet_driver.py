"""hf-xet has no command: the least program that uploads a folder to a local endpoint and gets it back.

    python xet_driver.py upload ENDPOINT HASHES FOLDER      HASHES: a JSON file, what Xet calls each file
    python xet_driver.py download ENDPOINT HASHES FOLDER

Run with the Python of `.venv-bench`. Xet knows no names: the caller keeps them, with the hashes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import hf_xet


def upload(endpoint: str, hashes: Path, folder: str) -> None:
    """Uploads all files below `folder`. The SHA-256 that the Hub wants besides is not computed."""
    paths = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]
    found = hf_xet.upload_files(paths, endpoint, None, None, None, None, skip_sha256=True)
    kept = [
        (os.path.relpath(path, folder), one.hash, one.file_size)
        for path, one in zip(paths, found, strict=True)
    ]
    hashes.write_text(json.dumps(kept))


def download(endpoint: str, hashes: Path, folder: str) -> None:
    """Writes the files of the last upload below `folder`."""
    wanted = [
        hf_xet.PyXetDownloadInfo(os.path.join(folder, name), digest, size_bytes)
        for name, digest, size_bytes in json.loads(hashes.read_text())
    ]
    hf_xet.download_files(wanted, endpoint, None, None, None)


if __name__ == "__main__":
    command, where, kept_in, data = sys.argv[1:]
    {"upload": upload, "download": download}[command](where, Path(kept_in), data)
