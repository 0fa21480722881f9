"""Copy the CSV and JPEG files that the scikit-learn package ships into a folder, as a data set of one's own.

python gather.py FOLDER
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import files
from pathlib import Path

FOLDER_OF = {".csv": "tables", ".jpg": "photos"}


def gather(target: Path) -> None:
    """Copy each shipped file to the folder of its kind below `target`."""
    for shipped in files("scikit-learn") or ():
        folder = FOLDER_OF.get(shipped.suffix)
        if folder is None or shipped.parts[:2] != ("sklearn", "datasets"):
            continue
        copy = target / folder / shipped.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shipped.locate(), copy)
        print(f"{copy.stat().st_size:>9,} bytes  {copy}")


if __name__ == "__main__":
    gather(Path(sys.argv[1]))
