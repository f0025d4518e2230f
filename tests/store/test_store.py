"""Records and artifacts are whole, verified, and the same in a directory and in S3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from modelyard.api.artifacts import MANIFEST
from modelyard.api.runtime import StoreConfig
from modelyard_runtimes.store import (
    DigestMismatch,
    Store,
    StoreError,
    StoreUnavailable,
    build_manifest,
    open_store,
)

FILES = {"model.json": b"{}", "weights/part-0.bin": b"\x00\x01"}
ENVIRON = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def test_a_record_reads_back_by_key_and_by_uri(store: Store) -> None:
    store.write_record("runs/a/dataset/b/1/record.json", b"first")
    store.write_record("runs/a/dataset/b/1/record.json", b"second")

    assert store.read_bytes("runs/a/dataset/b/1/record.json") == b"second"
    assert store.read_bytes(f"{store.uri}/runs/a/dataset/b/1/record.json") == b"second"
    assert store.exists("runs/a/dataset/b/1/record.json")


def test_list_gives_sorted_keys_below_a_folder_only(store: Store) -> None:
    for key in ("runs/b/2", "runs/b/1", "runs/bb/3"):
        store.write_record(key, b"x")

    assert store.list("runs/b") == ["runs/b/1", "runs/b/2"]
    assert store.list("nothing/here") == []
    assert store.list("") == ["runs/b/1", "runs/b/2", "runs/bb/3"]


def test_what_is_missing_is_a_file_not_found(store: Store) -> None:
    assert not store.exists("runs/none")
    with pytest.raises(FileNotFoundError):
        store.read_bytes("runs/none")
    with pytest.raises(FileNotFoundError):
        store.open_artifact(f"{store.uri}/artifacts/{'0' * 64}")


@pytest.mark.parametrize("key", ["../up", "/etc/passwd", "a/../../b", ""])
def test_a_key_never_leaves_the_store(store: Store, key: str) -> None:
    with pytest.raises(StoreError, match="inside the store"):
        store.write_record(key, b"x")


def test_an_artifact_is_addressed_by_its_content(store: Store, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(FILES["model.json"])
    first = store.put_artifact("modelyard/model.v1", FILES)
    again = store.put_artifact(
        "modelyard/model.v1", {**dict(reversed(FILES.items())), "model.json": tmp_path / "local"}
    )
    other = store.put_artifact("modelyard/model.v1", {**FILES, "model.json": b"[]"})

    assert first == again
    assert first.digest == build_manifest("modelyard/model.v1", FILES).artifact_digest()
    assert first.uri == f"{store.uri}/artifacts/{first.digest.removeprefix('sha256:')}"
    assert first.size_bytes == 4
    assert other.digest != first.digest


def test_a_reader_gives_bytes_paths_and_a_folder(store: Store) -> None:
    artifact = store.put_artifact("modelyard/model.v1", FILES)
    reader = store.open_artifact(artifact.uri, artifact.digest)

    assert reader.digest == artifact.digest
    assert reader.read("model.json") == b"{}"
    assert reader.path("weights/part-0.bin").read_bytes() == b"\x00\x01"
    assert (reader.folder() / "model.json").read_bytes() == b"{}"
    assert (reader.folder() / MANIFEST).exists()
    with pytest.raises(FileNotFoundError, match=r"model\.json"):
        reader.read("other.json")


def test_files_of_a_directory_store_are_read_in_place(
    directory_store: Store, tmp_path: Path
) -> None:
    artifact = directory_store.put_artifact("modelyard/model.v1", FILES)

    path = directory_store.open_artifact(artifact.uri).path("model.json")

    assert path.is_relative_to(tmp_path / "store")


def test_a_changed_file_is_named(store: Store, tamper: Callable[[str, bytes], None]) -> None:
    artifact = store.put_artifact("modelyard/model.v1", FILES)
    tamper(f"{artifact.uri}/model.json", b"[]")
    reader = store.open_artifact(artifact.uri, artifact.digest)

    for access in (
        lambda: reader.read("model.json"),
        lambda: reader.path("model.json"),
        reader.folder,
    ):
        with pytest.raises(DigestMismatch, match=r"model\.json: digest is sha256:") as caught:
            access()
        assert caught.value.uri == f"{artifact.uri}/model.json"
    assert reader.read("weights/part-0.bin") == b"\x00\x01"


def test_a_changed_manifest_is_refused(store: Store, tamper: Callable[[str, bytes], None]) -> None:
    artifact = store.put_artifact("modelyard/model.v1", FILES)
    tamper(f"{artifact.uri}/{MANIFEST}", b'{"mediaType":"x","files":[]}')

    with pytest.raises(DigestMismatch, match=r"manifest\.json"):
        store.open_artifact(artifact.uri, artifact.digest)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("weights/part-0.bin", b"\x00\x02", id="a changed file"),
        pytest.param(MANIFEST, b"{}", id="a changed manifest"),
    ],
)
def test_committing_again_repairs_what_was_changed(
    store: Store, tamper: Callable[[str, bytes], None], name: str, data: bytes
) -> None:
    artifact = store.put_artifact("modelyard/model.v1", FILES)
    tamper(f"{artifact.uri}/{name}", data)

    assert store.put_artifact("modelyard/model.v1", FILES) == artifact

    reader = store.open_artifact(artifact.uri, artifact.digest)
    assert {path: reader.read(path) for path in FILES} == FILES


def test_a_manifest_that_points_outside_is_refused(
    store: Store, tamper: Callable[[str, bytes], None]
) -> None:
    entry = f'{{"path":"../../secret","size":1,"digest":"sha256:{"0" * 64}"}}'
    tamper(
        f"{store.uri}/artifacts/x/manifest.json", f'{{"mediaType":"x","files":[{entry}]}}'.encode()
    )

    with pytest.raises(StoreError, match="inside the store"):
        store.open_artifact(f"{store.uri}/artifacts/x")


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "manifest.json", "a/./b"])
def test_an_artifact_has_plain_paths_only(store: Store, path: str) -> None:
    with pytest.raises(StoreError):
        store.put_artifact("modelyard/model.v1", {path: b"x"})


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host/x", "file:///directory or s3://bucket"),
        ("file://other-host/x", "file:///absolute/directory"),
        ("s3:///x", "s3://bucket/prefix"),
    ],
)
def test_a_wrong_uri_is_refused_with_a_remedy(uri: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        open_store(StoreConfig(uri=uri), ENVIRON)


def test_an_unreachable_bucket_is_said_to_be_unavailable() -> None:
    store = open_store(StoreConfig(uri="s3://bucket", endpoint="http://127.0.0.1:1"), ENVIRON)

    with pytest.raises(StoreUnavailable):
        store.exists("runs/x")
