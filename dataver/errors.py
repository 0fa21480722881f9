"""The exception tree. Each class carries the exit code that the command line ends with.

Grouped by what the caller does about them: mend the input, look elsewhere, choose who wins,
restore from another copy, wait for the store. A class is also a builtin where one fits, so
that `except FileNotFoundError` works without an import of dataver.
"""

from __future__ import annotations

__all__ = [
    "AlreadyExistsError",
    "BadInputError",
    "CheckFailedError",
    "ConflictError",
    "DamagedError",
    "DataverError",
    "EnvironmentFaultError",
    "ErasedDataError",
    "ErasedError",
    "LockMismatchError",
    "MissingExtraError",
    "NewerFormatError",
    "NotFoundError",
    "NotPermittedError",
    "ObjectMissingError",
    "OfflineError",
    "PathNotFoundError",
    "RefNotFoundError",
    "RepositoryNotFoundError",
    "RollbackError",
    "SignatureError",
    "SourceChangedError",
    "StoreError",
    "UnsafeStoreError",
    "WouldOverwriteError",
]


class DataverError(Exception):
    """Root of every error that dataver raises on purpose. The message is one short paragraph."""

    exit_code = 1


class EnvironmentFaultError(DataverError):
    """The installation cannot do its work: a kernel is missing or fell back to a slow one."""


class BadInputError(DataverError, ValueError):
    """A name, an option or a file of the user's is malformed."""

    exit_code = 2


class MissingExtraError(BadInputError, ImportError):
    """What was asked for needs a library that is not installed; the message names the extra."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class NewerFormatError(BadInputError):
    """The repository needs a feature that this release does not know."""


class ErasedDataError(BadInputError):
    """What was to be recorded or copied holds bytes that were erased from the repository for good."""


class SourceChangedError(BadInputError):
    """A file kept changing while it was read."""


class NotFoundError(DataverError, FileNotFoundError):
    """What was named is not there."""

    exit_code = 3

    def __str__(self) -> str:
        # OSError with one argument prints like Exception; with two it would print an errno.
        return str(self.args[0]) if self.args else ""


class RepositoryNotFoundError(NotFoundError):
    """No repository at this place."""


class RefNotFoundError(NotFoundError):
    """No dataset, version, branch, tag or alias of this name."""


class PathNotFoundError(NotFoundError):
    """The version, or the disk, has no file or folder of this path."""


class ErasedError(NotFoundError):
    """The bytes were erased from the repository on purpose; the message says who did, when and why."""


class ObjectMissingError(NotFoundError):
    """A store has no object under this key. Readers turn it into `DamagedError` where it must be."""


class AlreadyExistsError(DataverError, FileExistsError):
    """The name is taken."""

    exit_code = 4

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ConflictError(DataverError):
    """Two sides changed the same thing; the message names both."""

    exit_code = 4


class DamagedError(DataverError):
    """Bytes of a repository are missing or are not what their digest says."""

    exit_code = 5


class RollbackError(DamagedError):
    """The repository's history is not a continuation of what this machine saw before."""


class LockMismatchError(DamagedError):
    """A version is not what the lock file pins: another one, one with other files, or none."""


class WouldOverwriteError(DataverError, FileExistsError):
    """Writing would replace a file of the user's that differs."""

    exit_code = 6

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class StoreError(DataverError, OSError):
    """The store failed: network, space, or an answer that never came."""

    exit_code = 7

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class OfflineError(StoreError):
    """Offline, and what is asked for is not in this machine's cache, or would be written."""


class NotPermittedError(DataverError, PermissionError):
    """The store or the file system refuses: permissions, credentials, read-only media."""

    exit_code = 8

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class UnsafeStoreError(NotPermittedError):
    """The store did not pass the probe for atomic creation, so it is not written to."""


class CheckFailedError(DataverError):
    """A check that was asked for (`--fail-on`, a signature) did not hold."""

    exit_code = 9


class SignatureError(CheckFailedError):
    """A version, or a run, has no valid signature by a trusted key."""
