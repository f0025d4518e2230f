"""What makes a server's data folder its own: token, certificate, port and kubeconfig.

kubectl sends no bearer token over plain http, not even to loopback, so the server speaks TLS with
a certificate that its own authority signed; the authority's key is thrown away at once. Both are
made by another process: what makes them is large, and is needed once in the life of a folder.
"""

import base64
import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson


@dataclass(frozen=True)
class Credentials:
    """The files by which clients and server know each other.

    Attributes:
        token: The bearer token of all clients.
        authority: The PEM file that clients verify the server by.
        certificate: The PEM file of the server's certificate and key.
    """

    token: str
    authority: Path
    certificate: Path


def load(folder: Path) -> Credentials:
    """Read a folder's credentials, creating on first use what is not there."""
    token_file = folder / "token"
    if not token_file.exists():
        write_private(token_file, secrets.token_urlsafe(32).encode())
    authority, certificate = folder / "ca.crt", folder / "server.pem"
    if not (authority.exists() and certificate.exists()):
        authority_pem, server_pem = _certificates()
        write_private(certificate, server_pem)
        write_private(authority, authority_pem)
    return Credentials(token_file.read_text(), authority, certificate)


def read_port(folder: Path) -> int:
    """The port that the folder's server had, 0 if it never had one."""
    file = folder / "port"
    return int(file.read_text()) if file.exists() else 0


def write_port(folder: Path, port: int) -> None:
    """Remember the port for the next start."""
    write_private(folder / "port", str(port).encode())


def write_kubeconfig(folder: Path, url: str, credentials: Credentials) -> Path:
    """Write `kubeconfig` into the folder, so that it is whole whenever it is there."""
    authority = base64.b64encode(credentials.authority.read_bytes()).decode()
    name = "embedded"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": url, "certificate-authority-data": authority}}
        ],
        "users": [{"name": name, "user": {"token": credentials.token}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}
        ],
        "current-context": name,
    }
    path = folder / "kubeconfig"
    write_private(path, orjson.dumps(config, option=orjson.OPT_INDENT_2))
    return path


def write_private(path: Path, content: bytes) -> None:
    """Write a file atomically, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _certificates() -> tuple[bytes, bytes]:
    """A new authority's certificate, and the server's certificate with its key, as PEM."""
    command = [sys.executable, "-P", "-m", "modelyard.embedded.apiserver.certificates"]
    made = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    authority, server = json.loads(made.stdout)
    return authority.encode(), server.encode()
