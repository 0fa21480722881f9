"""The package `oxenai` has no command: this is the least program that does what `oxen add`, `commit`, … do.

    python oxen_driver.py init PROJECT
    python oxen_driver.py commit PROJECT FOLDER     add and commit; FOLDER lies in PROJECT
    python oxen_driver.py status PROJECT
    python oxen_driver.py restore PROJECT NAME      NAME is that of the folder in the last commit

Run with the Python of `.venv-bench`. The import alone takes 0.2 s.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import oxen
from oxen.user import config_user


def init(project: str) -> None:
    """Makes the repository; a commit needs an author, whom Oxen keeps below HOME."""
    config_user("bench", "bench@localhost")
    oxen.Repo(project).init()


def commit(project: str, folder: str) -> None:
    """Commits what `folder` holds now, and what it lacks; to have nothing to commit is no error."""
    repo = oxen.Repo(project)
    repo.add(folder)
    try:
        repo.commit("benchmark")
    except ValueError as error:
        if "No changes to commit" not in str(error):
            raise


def status(project: str) -> None:
    """Prints what changed."""
    print(oxen.Repo(project).status())


def restore(project: str, name: str) -> None:
    """Writes the folder of the last commit into the project."""
    oxen.Repo(project).restore(name)


PHASES: dict[str, Callable[..., None]] = {
    "init": init,
    "commit": commit,
    "status": status,
    "restore": restore,
}

if __name__ == "__main__":
    PHASES[sys.argv[1]](*sys.argv[2:])
