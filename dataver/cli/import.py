"""`dataver import`: versions out of what other tools keep."""

from __future__ import annotations

from dataver.cli.family import family

command = family(
    "import",
    "Bring what another tool keeps into the repository: history, names and digests, where it has them.",
    {
        "dvc": "The outputs of DVC, a version for each commit.",
        "git-lfs": "The files of git-lfs, a version for each commit.",
        "mlflow": "Runs and models of MLflow, and the data they read.",
    },
    "dataver import dvc ../project",
    "dataver import git-lfs ../photos",
    "dataver import mlflow --experiment churn",
)
