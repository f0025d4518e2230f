"""What a kubeconfig says is what its readers do."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from modelyard.embedded.apiserver.certificates import certificates
from modelyard.embedded.kubeconfig import read_kubeconfig


def in_a_file(folder: Path, authority: str) -> dict[str, Any]:
    (folder / "ca.crt").write_text(authority)
    return {"certificate-authority": str(folder / "ca.crt")}


def inline(folder: Path, authority: str) -> dict[str, Any]:
    return {"certificate-authority-data": base64.b64encode(authority.encode()).decode()}


@pytest.mark.parametrize("given", [in_a_file, inline])
def test_no_authority_is_trusted_but_the_one_it_names(tmp_path: Path, given: Any) -> None:
    authority, _ = certificates()
    cluster = {"server": "https://127.0.0.1:6443", **given(tmp_path, authority)}
    config = {
        "clusters": [{"name": "one", "cluster": cluster}],
        "users": [{"name": "one", "user": {"token": "t"}}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
        "current-context": "one",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(config))

    tls = read_kubeconfig(tmp_path / "kubeconfig").tls

    assert isinstance(tls, ssl.SSLContext)
    assert tls.verify_mode is ssl.CERT_REQUIRED
    trusted = [entry["subject"] for entry in tls.get_ca_certs()]
    assert trusted == [((("commonName", "embedded-ca"),),)]
