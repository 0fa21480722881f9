"""Logging in to Azure Blob Storage: adlfs chooses the credential, we choose how requests behave.

adlfs's own client waits 85 s for a dead host and sends 64 MiB in 18 requests. So the client is built
here, from what adlfs made of the options and the environment.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from dataver.errors import BadInputError, DataverError, NotPermittedError, ObjectMissingError, StoreError
from dataver.store.failures import from_client_error, redact

if TYPE_CHECKING:
    from adlfs import AzureBlobFileSystem

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
ONE_REQUEST_BYTES_MAX = 256 << 20
"""So much is put, or read, in one request; an object of a repository is much smaller as a rule."""
RETRY_PAUSE_S = 0.25
RETRY_PAUSE_S_MAX = 4.0

_NUMBERS = frozenset({"blocksize", "max_concurrency", "timeout", "connection_timeout", "read_timeout"})
_SWITCHES = frozenset({"anon", "version_aware", "assume_container_exists"})
_FALSE = frozenset({"", "0", "f", "false", "n", "no", "off"})
_VARIABLES = {
    name: f"AZURE_STORAGE_{name.upper()}"
    for name in (
        "account_name", "account_key", "connection_string", "sas_token",
        "client_id", "client_secret", "tenant_id",
    )
}  # fmt: skip
_CREDENTIALS = [
    ("connection_string", "AZURE_STORAGE_CONNECTION_STRING", "connection string"),
    ("credential", "", "credential"),
    ("account_key", "AZURE_STORAGE_ACCOUNT_KEY", "account key"),
    ("sas_token", "AZURE_STORAGE_SAS_TOKEN", "SAS token"),
    ("client_id", "AZURE_STORAGE_CLIENT_ID", "service principal"),
]
_LACKING = frozenset({"AuthorizationPermissionMismatch", "InsufficientAccountPermissions"})
_RIGHTS = {
    "read": ("read and list", "Reader"),
    "list": ("read and list", "Reader"),
    "write": ("read, list, create and write", "Contributor"),
    "delete": ("read, list, create, write and delete", "Contributor"),
}
"""What a SAS token must permit, and which role a login needs, for each thing that a store does."""
_ATTEMPT = re.compile(r"^\s*(\w+Credential):\s*([^.\n]*)", re.MULTILINE)


# What the SDK warns of comes back as an error of ours; without this it would also go to standard error.
logging.getLogger("azure").addHandler(logging.NullHandler())


@cache
def _file_system_class() -> type[AzureBlobFileSystem]:
    from adlfs import AzureBlobFileSystem
    from azure.core.exceptions import ClientAuthenticationError
    from azure.storage.blob.aio import BlobServiceClient, ExponentialRetry

    class Retry(ExponentialRetry):
        """Few tries where nobody answers, more where the service says that it is busy."""

        def __init__(self) -> None:
            super().__init__(retry_total=8, retry_connect=2, retry_read=2, retry_status=6)

        def get_backoff_time(self, settings: dict[str, Any]) -> float:
            import random

            pause_s = min(RETRY_PAUSE_S * 2 ** settings["count"], RETRY_PAUSE_S_MAX)
            return random.uniform(pause_s / 2, pause_s)  # noqa: S311 - jitter

        def increment(
            self, settings: dict[str, Any], request: Any, response: Any = None, error: Any = None
        ) -> bool:
            # Whoever has no login has none a moment later.
            refused = isinstance(error, ClientAuthenticationError)
            return not refused and super().increment(settings, request, response, error)

    class FileSystem(AzureBlobFileSystem):  # type: ignore[misc]
        """adlfs, with a client of ours."""

        def do_connect(self) -> None:
            settings: dict[str, Any] = {
                "user_agent": "dataver",
                "retry_policy": Retry(),
                "max_single_put_size": ONE_REQUEST_BYTES_MAX,
                "max_single_get_size": ONE_REQUEST_BYTES_MAX,
                "connection_timeout": CONNECT_TIMEOUT_S,
                "read_timeout": READ_TIMEOUT_S,
            } | self._timeout_kwargs
            settings.pop("timeout", None)  # the service's own, which a request takes
            if self.connection_string is not None:
                self.service_client = BlobServiceClient.from_connection_string(
                    self.connection_string, **settings
                )
                return
            if self.account_name is None:
                raise ValueError("no account is named")
            host = getattr(self, "account_host", f"{self.account_name}.blob.core.windows.net")
            credential = self.credential or self.account_key or (self.sas_token or "").lstrip("?") or None
            self.service_client = BlobServiceClient(
                f"https://{host}", credential, _location_mode=self.location_mode, **settings
            )

    return FileSystem


def connect(url: str, storage_options: Mapping[str, Any]) -> AzureBlobFileSystem:
    """The file system for a URL. No request is made yet.

    Options are those of `adlfs.AzureBlobFileSystem`, as texts too; what is not among them comes from
    the environment, as adlfs documents it. `BadInputError` for one that adlfs does not know,
    `NotPermittedError` where no account is named or what is given is no credential.
    """
    try:
        import adlfs
    except ImportError as error:
        raise BadInputError(
            f"{url.partition('://')[0]}:// needs the extra packages of Azure; pip install 'dataver[azure]'"
        ) from error
    known = inspect.signature(adlfs.AzureBlobFileSystem.__init__).parameters
    options = adlfs.AzureBlobFileSystem._get_kwargs_from_urls(url)
    for name, value in storage_options.items():
        if name not in known or name == "self":
            raise BadInputError(
                f"{name!r} is no storage option of Azure; adlfs documents them: account_name, account_key, "
                "connection_string, sas_token, client_id, client_secret, tenant_id, anon, …"
            )
        options[name] = _typed(name, value)
    # adlfs would read these itself, but fsspec gives one object to all who ask with the same options.
    found = {name: os.environ[variable] for name, variable in _VARIABLES.items() if os.environ.get(variable)}
    try:
        return _file_system_class()(**{**found, **options})
    except DataverError:
        raise
    except Exception as error:  # noqa: BLE001 - the parsers of credentials raise what they like
        raise NotPermittedError(_no_login(options, error)) from None


def _typed(name: str, value: Any) -> Any:
    """An option that came as text, from a command line, as the type that adlfs takes."""
    if not isinstance(value, str):
        return value
    if name in _SWITCHES:
        return value.lower() not in _FALSE
    if name in _NUMBERS:
        try:
            return int(value)
        except ValueError:
            raise BadInputError(f"the storage option {name} takes a whole number") from None
    return value


def _no_login(options: Mapping[str, Any], error: Exception) -> str:
    if not options.get("account_name") and not os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"):
        named = "connection_string" in options or "AZURE_STORAGE_CONNECTION_STRING" in os.environ
        if not named:
            return (
                "no Azure account is named: set AZURE_STORAGE_ACCOUNT_NAME (and log in with `az login`) or "
                "AZURE_STORAGE_CONNECTION_STRING, or write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"
            )
    return (
        f"{credential_name(options)} cannot be used: it is malformed ({type(error).__name__}); copy it anew"
    )


def credential_name(options: Mapping[str, Any]) -> str:
    """Which credential is used for these options in this environment, and where it came from; no secret."""
    for option, variable, words in _CREDENTIALS:
        if options.get(option):
            return f"the {words} that was given as {option}"
        if variable and os.environ.get(variable):
            return f"the {words} of {variable}"
    anonymous = options.get("anon")
    if anonymous is None:
        anonymous = os.environ.get("AZURE_STORAGE_ANON", "").lower() not in _FALSE
    return "anonymous access" if anonymous else "DefaultAzureCredential"


def from_azure_error(
    error: Exception, action: str, what: str, credential: str, *, reading: bool = False
) -> DataverError:
    """The error of ours for what the SDK raised. Only names and codes of it are told, no texts of it.

    `action`, `what` and `reading` as for `from_client_error`; `credential` is `credential_name`.
    """
    from azure.core.exceptions import (
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    start = f"cannot {action} {what}"
    status = getattr(error, "status_code", None)
    code = error_code(error)
    told = f"{status or ''} {code or type(error).__name__}".strip()
    if isinstance(error, HttpResponseError) and status is not None:
        if status == 404 and code == "ContainerNotFound" and not reading:
            return StoreError(f"{start}: its container does not exist; make it, or check the URL")
        if status == 404 and reading:
            return ObjectMissingError(f"there is no {what}")
        if status in (401, 403) or "Immutable" in code:
            return NotPermittedError(
                f"{start}: {told}, with {credential}; {_advice(code, credential, action)}"
            )
        return StoreError(f"{start}: the service answered {told}; wait, and run it again")
    if isinstance(error, ClientAuthenticationError) and not isinstance(error.__cause__, ValueError):
        tried = "; ".join(f"{name}: {reason}" for name, reason in _ATTEMPT.findall(str(error)))
        tried = f" (tried {redact(tried)[:600]})" if tried else ""
        return NotPermittedError(
            f"{start}: {credential} gave no token{tried}; {_advice('', credential, action)}"
        )
    if isinstance(error, ServiceRequestError | ServiceResponseError | TimeoutError):
        return StoreError(
            f"{start}: the service cannot be reached ({type(error).__name__}); check the network and the "
            "account's name, then run it again"
        )
    if isinstance(error, ValueError | TypeError | ClientAuthenticationError):
        return NotPermittedError(f"{start}: {credential} is malformed ({type(error).__name__}); copy it anew")
    if isinstance(error, AzureError):
        return StoreError(f"{start}: {type(error).__name__}; run it again")
    return from_client_error(error, action, what, reading=reading)


def error_code(error: Exception) -> str:
    """The service's name for an error, empty where it is none of the service's."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _advice(code: str, credential: str, action: str) -> str:
    if code in _LACKING:
        rights, role = _RIGHTS.get(action, _RIGHTS["write"])
        return (
            f"the right to {action} is lacking: ask for a SAS token with the permissions {rights}, or for "
            f"the role Storage Blob Data {role} on the container"
        )
    if code == "AuthorizationFailure":
        return (
            "its rights, its expiry or the account's network rules do not allow it; ask the account's owner"
        )
    if credential == "DefaultAzureCredential":
        return (
            "run `az login`, or give the machine a managed identity, or set AZURE_STORAGE_CONNECTION_STRING, "
            "AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_ACCOUNT_KEY"
        )
    if credential == "anonymous access":
        return "the container is not public; log in"
    return "check that it belongs to this account, has not expired, and may do this"
