"""A resource manager of Azure, as far as data assets, datastores and models go, over TLS on this machine.

It also gives tokens, as a managed identity does. What it is asked is kept in `requests`.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP, WORKSPACE = "group", "ws"
WORKSPACE_ID = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    f"/providers/Microsoft.MachineLearningServices/workspaces/{WORKSPACE}"
)
TRACKING = f"/mlflow/v2.0{WORKSPACE_ID}"
_ASSET = re.compile(rf"{WORKSPACE_ID}/(data|models)/([^/]+)/versions/([^/]+)")
_DATASTORE = re.compile(rf"{WORKSPACE_ID}/datastores/([^/]+)")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that vouches for itself, and its key, as files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return public, private


@dataclass
class Stub:
    """What the resource manager knows. `refuse` is the status that every request for an asset gets.

    Runs are tracked by `mlflow`, the URL of a server, through this: a path that has one of `lacks` in it
    gets that status, as the service answers for what it has not.
    """

    url: str
    assets: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    datastores: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    refuse: int = 0
    mlflow: str = ""
    lacks: dict[str, int] = field(default_factory=dict)

    def clear(self) -> None:
        """As it was when it started."""
        self.assets.clear()
        self.datastores.clear()
        self.requests.clear()
        self.bodies.clear()
        self.refuse = 0
        self.lacks = {"/logged-models": 404, "/runs/outputs": 404}

    def add_datastore(self, name: str, container: str, *, default: bool = False) -> None:
        """A datastore that is a container of blobs."""
        self.datastores[name] = {
            "datastoreType": "AzureBlob", "accountName": "devstoreaccount1", "containerName": container,
            "endpoint": "core.windows.net", "protocol": "https", "isDefault": default,
            "credentials": {"credentialsType": "None"},
        }  # fmt: skip

    def puts(self) -> list[str]:
        """The paths that were put."""
        return [path for method, path in self.requests if method == "PUT"]

    def answer(self, method: str, path: str, query: str, body: dict[str, Any]) -> tuple[int, Any]:
        """The status and the document for a request."""
        if path == "/msi/token":
            soon = str(int(time.time()) + 3600)
            return 200, {"access_token": "token", "expires_on": soon, "resource": "r", "token_type": "Bearer"}
        if path == "/metadata/endpoints":
            return 200, self.metadata()
        self.requests.append((method, path))
        if path == WORKSPACE_ID:
            return 200, {"id": path, "name": WORKSPACE, "location": "x", "properties": {}}
        asset = _ASSET.fullmatch(path)
        if asset:
            return self.asset(method, path, (asset[1], asset[2], asset[3]), body)
        named = _DATASTORE.fullmatch(path)
        if named and named[1] in self.datastores:
            return 200, self.datastore(named[1])
        if path == f"{WORKSPACE_ID}/datastores" and "isdefault=true" in query.lower():
            found = [name for name, told in self.datastores.items() if told["isDefault"]]
            return 200, {"value": [self.datastore(name) for name in found]}
        return 404, {"error": {"code": "NotFound", "message": f"there is no {path}"}}

    def asset(
        self, method: str, path: str, key: tuple[str, str, str], body: dict[str, Any]
    ) -> tuple[int, Any]:
        if self.refuse:
            return self.refuse, {"error": {"code": "Refused", "message": "not for you\nsecret"}}
        if method == "PUT":
            self.bodies.append(body)
            properties = dict(body["properties"])
            # The service tells a datastore's path in its long form.
            for key_ in ("dataUri", "modelUri"):
                uri = str(properties.get(key_, ""))
                if uri.startswith("azureml://datastores/"):
                    properties[key_] = uri.replace("azureml://", f"azureml:/{WORKSPACE_ID}/", 1)
            self.assets[key] = properties
        if key not in self.assets:
            return 404, {"error": {"code": "UserError", "message": f"there is no {':'.join(key)}"}}
        return 200, {"id": path, "name": key[2], "type": "versions", "properties": self.assets[key]}

    def datastore(self, name: str) -> dict[str, Any]:
        return {"id": f"{WORKSPACE_ID}/datastores/{name}", "name": name, "properties": self.datastores[name]}

    def track(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """What the server of MLflow answers, save what the service has not."""
        self.requests.append((method, path.partition("?")[0]))
        for part, status in self.lacks.items():
            if part in path:
                return status, b'{"error": {"code": "UserError", "message": "no such thing here"}}'
        headers = {"Content-Type": "application/json"}
        request = Request(self.mlflow + path, data=body or None, headers=headers, method=method)
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    def metadata(self) -> list[dict[str, Any]]:
        """The clouds, as `ARM_CLOUD_METADATA_URL` gives them.

        The address of a storage account is made of its name and the suffix. The client looks for the file
        of an mltable there by itself, and is led here and told that there is none: else it would try for
        minutes to reach an account on the internet.
        """
        return [
            {
                "name": "Here",
                "portal": "https://portal.azure.com/",
                "resourceManager": f"{self.url}/",
                "authentication": {"loginEndpoint": f"{self.url}/", "audiences": [self.url]},
                "suffixes": {"storage": f"@{self.url.removeprefix('https://')}"},
            }
        ]


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Stub, Path]]:
    """A stub that answers while the body runs, and the certificate to trust."""
    public, private = certificate(folder)
    stub = Stub("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, _, query = self.path.partition("?")
            if path.startswith(TRACKING):
                status, data = stub.track(self.command, self.path.removeprefix(TRACKING), body)
            else:
                status, document = stub.answer(
                    self.command, path.rstrip("/"), query, json.loads(body) if body else {}
                )
                data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_PATCH = do_HEAD = do  # noqa: N815 - the names that the server looks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    stub.url = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stub, public
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
