"""What makes a server's data folder its own: token, certificate, port and kubeconfig.

kubectl sends no bearer token over plain http, not even to loopback, so the server speaks TLS with
a certificate that its own authority signed; the authority's key is thrown away at once.
"""

import base64
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import orjson

_LIFETIME = timedelta(days=3650)


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
    # Needed once in the life of a folder, and large: other starts do without.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def usage(*, signs_certificates: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=signs_certificates,
            crl_sign=signs_certificates,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )

    def certificate(subject: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        start = datetime.now(UTC) - timedelta(minutes=5)
        return (
            x509.CertificateBuilder()
            .subject_name(named(subject))
            .issuer_name(named("embedded-ca"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + _LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )

    authority_key = ec.generate_private_key(ec.SECP256R1())
    server_key = ec.generate_private_key(ec.SECP256R1())
    authority = (
        certificate("embedded-ca", authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names: list[x509.GeneralName] = [
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.DNSName("localhost"),
    ]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    server = (
        certificate("embedded-apiserver", server_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return authority.public_bytes(pem), server.public_bytes(pem) + key_pem
