"""Foreign exceptions end here: what operating systems and client libraries raise becomes ours."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from dataver.errors import DataverError, NotPermittedError, ObjectMissingError, StoreError

_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED_STATUS = frozenset({401, 403})
_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})

# Texts, which `re` compiles when something failed.
_SECRETS = (
    r"(?i)((?:sig|AccountKey|SharedAccessKey|SharedAccessSignature|access_token|token|password"
    r"|X-Amz-[A-Za-z-]{1,40}|X-Goog-[A-Za-z-]{1,40})[\"']?\s*[=:]\s*[\"']?|Bearer\s+)[^\s&;'\",]+"
)
_USERINFO = r"(://[^/\s:@]*):[^/\s@]*@"
_TEXT_CHARACTERS_MAX = 300


def redact(text: str) -> str:
    """`text` without the secrets that client libraries put into messages and URLs."""
    return re.sub(_USERINFO, r"\1:***@", re.sub(_SECRETS, r"\1***", text))


def from_os_error(error: OSError, action: str, what: str, *, reading: bool = False) -> DataverError:
    """The error of ours for one of the operating system's.

    `action` and `what` make the message: "cannot <action> <what>". `reading`: a missing file
    means a missing object; in a write it means that the store's folder is gone.
    """
    reason = error.strerror or type(error).__name__
    start = f"cannot {action} {what}: {reason}"
    code = error.errno
    if reading and code in _MISSING:
        return ObjectMissingError(f"there is no {what}")
    if code in _REFUSED or isinstance(error, PermissionError):
        return NotPermittedError(f"{start}; check its owner and permissions, and that it is not read-only")
    if code in _FULL:
        return StoreError(f"{start}; free space or raise the quota, then run it again")
    if code in _DESCRIPTORS:
        return StoreError(f"{start}; raise the limit on open files (`ulimit -n`), then run it again")
    if code == errno.EIO:
        return StoreError(f"{start}; the disk may be failing: check the system's log before going on")
    return StoreError(f"{start}; check that the store is reachable, then run it again")


@contextmanager
def os_errors(action: str, what: str, *, reading: bool = False) -> Iterator[None]:
    """Turn every `OSError` of the block that is not ours yet, as `from_os_error` does."""
    try:
        yield
    except OSError as error:
        if isinstance(error, DataverError):
            raise
        raise from_os_error(error, action, what, reading=reading) from error


def from_client_error(error: Exception, action: str, what: str, *, reading: bool = False) -> DataverError:
    """The error of ours for whatever a client library raised, its text redacted and shortened."""
    if isinstance(error, OSError) and error.errno is not None:
        return from_os_error(error, action, what, reading=reading)
    if reading and isinstance(error, FileNotFoundError):
        return ObjectMissingError(f"there is no {what}")
    if type(error).__module__.startswith("azure."):
        from dataver.store.azure_client import credential_name, from_azure_error

        return from_azure_error(error, action, what, credential_name({}), reading=reading)
    text = redact(" ".join(str(error).split()))[:_TEXT_CHARACTERS_MAX]
    start = f"cannot {action} {what}: {type(error).__name__}: {text}"
    status = getattr(error, "status_code", None) or getattr(error, "status", None)
    if isinstance(error, PermissionError) or status in _REFUSED_STATUS:
        return NotPermittedError(f"{start}; check the credentials and their rights on the store")
    return StoreError(f"{start}; check the network and the store's address, then run it again")
