"""What every test gets: an environment of its own, and one of two hypothesis profiles."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import Phase, settings

from tests.azurite import Azurite

# `quick` is what `make test` runs; `long` is for `make fuzz` and `make soak`. No deadline in either:
# a shared machine makes any single example slow now and then, and these are not timed tests.
settings.register_profile("quick", max_examples=50, stateful_step_count=30, deadline=None, print_blob=True)
settings.register_profile("long", max_examples=5_000, stateful_step_count=100, deadline=None, print_blob=True)
# `mutation` finds the same each time, and stops at the first failure: that there is one is enough.
settings.register_profile(
    "mutation",
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

AUTHOR = "Test Author <test@example.org>"


@pytest.fixture(autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the user's caches, repository, author or credentials, nor another test's.

    The cache folder lies beside `tmp_path`, not in it, so that a test may commit all of `tmp_path`.
    Subprocesses inherit all of it.
    """
    cache = tmp_path_factory.getbasetemp() / f"cache-{uuid4().hex}"
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("DATAVER_", "FSSPEC_", "AZURE_")) or name == "NO_COLOR":
                patch.delenv(name)
        patch.setenv("DATAVER_CACHE_DIR", str(cache))
        patch.setenv("DATAVER_AUTHOR", AUTHOR)
        yield
    shutil.rmtree(cache, ignore_errors=True)


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """The blob service of Azurite, in memory, for all tests of this process."""
    with Azurite.started() as service:
        yield service


@pytest.fixture
def azure(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a place in a container of its own; the credential is in the environment."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.connection_string)
    return f"az://{azurite.container()}/repository"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """moto's S3 service, in this process.

    It answers one request at a time: between moto's look whether an object is there and its put another
    request could come, and two writers would be told that they created it.
    """
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    service, one = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def in_turn(environ: Any, start_response: Any) -> list[bytes]:
        with one:
            return list(service(environ, start_response))

    server = make_server("127.0.0.1", 0, in_turn, threaded=True, request_handler=MotoRequestHandler)
    answering = threading.Thread(target=server.serve_forever, daemon=True)
    answering.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    answering.join()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a place in a bucket of its own; the credential is in the environment."""
    import boto3

    for name, value in (
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "nothing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", s3_endpoint),
    ):
        monkeypatch.setenv(name, value)
    bucket = f"b{uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/repository"
