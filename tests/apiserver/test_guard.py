"""Who may talk to the server."""

from pathlib import Path
from typing import Any

import httpx
import pytest


@pytest.fixture
def bare(start: Any, connect: Any) -> Any:
    """An API client whose requests carry nothing of their own."""
    return connect(start())


REFUSED = [
    pytest.param({"Authorization": ""}, 401, "Unauthorized", id="no token"),
    pytest.param({"Authorization": "Bearer wrong"}, 401, "Unauthorized", id="wrong token"),
    pytest.param({"Authorization": "Basic eDp5"}, 401, "Unauthorized", id="no bearer"),
    pytest.param({"Host": "evil.example.com"}, 403, "Forbidden", id="foreign host"),
    pytest.param({"Host": "127.0.0.1"}, 403, "Forbidden", id="host without its port"),
    pytest.param({"Origin": "https://evil.example.com"}, 403, "Forbidden", id="foreign origin"),
    pytest.param({"Origin": "null"}, 403, "Forbidden", id="no origin"),
]


@pytest.mark.parametrize(("headers", "code", "reason"), REFUSED)
def test_strangers_are_refused(bare: Any, headers: Any, code: int, reason: str) -> None:
    response = bare.http.get("/api/v1/namespaces", headers=headers)

    assert (response.status_code, response.json()["reason"]) == (code, reason)


def test_the_token_opens(bare: Any) -> None:
    assert bare.http.get("/api/v1/namespaces").status_code == 200


def test_localhost_is_as_good_as_its_address(bare: Any) -> None:
    port = bare.url.rsplit(":", 1)[1]

    response = bare.http.get("/api/v1/namespaces", headers={"Host": f"localhost:{port}"})

    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez"])
def test_health_is_for_all(bare: Any, path: str) -> None:
    response = bare.http.get(path, headers={"Authorization": ""})

    assert (response.status_code, response.text) == (200, "ok")


def test_health_is_not_for_foreign_pages(bare: Any) -> None:
    assert bare.http.get("/healthz", headers={"Host": "evil.example.com"}).status_code == 403


def test_the_certificate_is_verified(bare: Any) -> None:
    with httpx.Client() as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE"):
        client.get(f"{bare.url}/healthz")


def test_what_made_its_certificate_does_not_stay_in_memory(start: Any) -> None:
    running = start()

    mapped = Path(f"/proc/{running.pid}/maps").read_text()

    assert "orjson" in mapped
    assert "cryptography" not in mapped
