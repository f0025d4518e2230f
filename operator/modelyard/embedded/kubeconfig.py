"""Reads from a kubeconfig where the API server is and how to talk to it."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class KubeconfigError(Exception):
    """The kubeconfig cannot be read or has no usable context."""


@dataclass(frozen=True)
class Endpoint:
    """An API server.

    Attributes:
        server: Its URL, without a slash at the end.
        headers: Headers that every request needs.
        tls: How to check its certificate; False for plain HTTP.
    """

    server: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | bool


def read_kubeconfig(path: Path) -> Endpoint:
    """Return the endpoint of the current context of a kubeconfig.

    Raises:
        KubeconfigError: the file is missing, is no YAML or names no server.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        server = str(cluster["server"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise KubeconfigError(f"{path}: no usable kubeconfig ({error!r})") from error
    token = user.get("token")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Endpoint(server.rstrip("/"), headers, _tls(server, cluster, user))


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _tls(server: str, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext | bool:
    if not server.startswith("https"):
        return False
    # Given at once, so that the system's authorities are not trusted beside this one.
    data = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=base64.b64decode(data).decode() if data else None,
    )
    if "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user.get("client-key"))
    return context
