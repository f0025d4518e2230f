"""Runs a command against a real Kubernetes API server that lives as long as the command.

    python tests/tools/api_server.py COMMAND...

The command finds the server's kubeconfig in `$MODELYARD_CONFORMANCE_KUBECONFIG`. etcd and
kube-apiserver run on free ports of this machine, their state in a temporary directory, and beside
them of kube-controller-manager what collects garbage, empties namespaces and counts for quotas.
Nothing is scheduled or started. Without Go to build them the command does not run, which is said
and is no failure.
"""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from urllib.request import Request, urlopen

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

START_SECONDS = 180.0
CONTROLLERS = ("garbage-collector-controller", "namespace-controller", "resourcequota-controller")
NO_GO = 77


def main() -> None:
    script = Path(__file__).with_name("kubernetes.py")
    found = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        print(f"skipped: {' '.join(sys.argv[1:])}", file=sys.stderr)
        sys.exit(0 if found.returncode == NO_GO else found.returncode)
    etcd, apiserver, controller_manager = found.stdout.split()
    signal.signal(signal.SIGTERM, interrupt)
    with tempfile.TemporaryDirectory(prefix="api-server-") as name, ExitStack() as servers:
        folder = Path(name)
        storage = servers.enter_context(run_etcd(etcd, folder))
        kubeconfig = servers.enter_context(run_apiserver(apiserver, storage, folder))
        servers.enter_context(run_controllers(controller_manager, kubeconfig, folder))
        environment = {**os.environ, "MODELYARD_CONFORMANCE_KUBECONFIG": str(kubeconfig)}
        sys.exit(subprocess.run(sys.argv[1:], env=environment, check=False).returncode)


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Leave as Ctrl-C does, so that nothing keeps running."""
    raise KeyboardInterrupt


@contextmanager
def run_etcd(binary: str, folder: Path) -> Iterator[str]:
    """Run etcd; yield its URL. It spares the disk: what it holds is not meant to last."""
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    options = {
        "data-dir": folder / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }
    with running(binary, options, folder / "etcd.log"):
        yield client


@contextmanager
def run_apiserver(binary: str, storage: str, folder: Path) -> Iterator[Path]:
    """Run kube-apiserver; yield the kubeconfig of an administrator once it is ready."""
    port, token = free_port(), secrets.token_urlsafe(32)
    accounts, tokens, log = folder / "accounts.pem", folder / "tokens.csv", folder / "apiserver.log"
    accounts.write_bytes(private_key())
    tokens.write_text(f"{token},admin,admin,system:masters\n")
    options = {
        "etcd-servers": storage,
        "bind-address": "127.0.0.1",
        "advertise-address": "127.0.0.1",
        "secure-port": port,
        "cert-dir": folder / "certificates",
        "token-auth-file": tokens,
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": accounts,
        "service-account-signing-key-file": accounts,
        "service-cluster-ip-range": "10.0.0.0/24",
        # A loopback address cannot be an endpoint of the service `kubernetes`.
        "endpoint-reconciler-type": "none",
    }
    with running(binary, options, log) as process:
        certificate = folder / "certificates" / "apiserver.crt"
        kubeconfig = folder / "kubeconfig"
        await_ready(f"https://127.0.0.1:{port}", certificate, process, log)
        write_kubeconfig(kubeconfig, f"https://127.0.0.1:{port}", token, certificate)
        yield kubeconfig


def run_controllers(
    binary: str, kubeconfig: Path, folder: Path
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run the controllers that need no node; they answer nobody."""
    options: dict[str, object] = {
        "kubeconfig": kubeconfig,
        "controllers": ",".join(CONTROLLERS),
        "leader-elect": "false",
        "secure-port": 0,
    }
    return running(binary, options, folder / "controllers.log")


@contextmanager
def running(
    binary: str, options: dict[str, object], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a session of its own; kill it in the end, which is quicker than asking."""
    command = [binary, *(f"--{name}={value}" for name, value in options.items())]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def await_ready(url: str, certificate: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            context = ssl.create_default_context(cafile=str(certificate))
            with urlopen(Request(f"{url}/readyz"), timeout=5, context=context):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"kube-apiserver is not ready:\n{log.read_text(errors='replace')[-2000:]}")


def write_kubeconfig(path: Path, url: str, token: str, certificate: Path) -> None:
    authority = base64.b64encode(certificate.read_bytes()).decode()
    cluster = {"server": url, "certificate-authority-data": authority}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document))


def private_key() -> bytes:
    """Return a new key, by which the server signs tokens of service accounts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
