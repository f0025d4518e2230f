"""ConfigMaps that are mounted: each a folder that is renewed as a whole, as a kubelet does it.

<folder>/..<digest>/<key>     the content
<folder>/..data               a link to it, replaced at once
<folder>/<key>                links through that one
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.embedded.client import CONFIG_MAPS, ApiError, Client, Object
from modelyard.embedded.standins.containers import NotYet
from modelyard.embedded.standins.shapes import ANY, Shape, require

CONFIG_VOLUMES_SHAPE: Shape = [{"name": ANY, "emptyDir": ANY, "configMap": {"name": ANY}}]
"""Of other volumes nothing is there on this machine."""
RENEW_SECONDS = 1.0
"""How often mounted ConfigMaps are read again."""

_DATA = "..data"


@dataclass(frozen=True)
class ConfigVolume:
    """A ConfigMap, and the path at which a container finds it."""

    name: str
    config_map: str
    mount_path: str


def config_volumes(
    volumes: Sequence[Object], container: Object, path: str
) -> tuple[ConfigVolume, ...]:
    """Return the ConfigMaps among the volumes of a pod.

    Args:
        volumes: The volumes.
        container: The pod's container.
        path: Path of the container, for the error.

    Raises:
        Unsupported: one is not mounted once, as a whole, at a path of its own.
    """
    found = []
    for volume in volumes:
        if "configMap" not in volume:
            continue
        mounts = [
            mount
            for mount in container.get("volumeMounts") or []
            if mount.get("name") == volume["name"]
        ]
        remedy = f"mount the volume {volume['name']} once, at a path and without subPath"
        whole = len(mounts) == 1 and not mounts[0].keys() - {"name", "mountPath", "readOnly"}
        require(whole and bool(mounts[0].get("mountPath")), f"{path}.volumeMounts", remedy)
        name = (volume["configMap"] or {}).get("name", "")
        found.append(ConfigVolume(volume["name"], name, mounts[0]["mountPath"]))
    return tuple(found)


def at_folders(
    command: Sequence[str], volumes: Sequence[ConfigVolume], root: Path
) -> tuple[str, ...]:
    """Return a command whose words that are mount paths name the folders of this machine."""
    folders = {volume.mount_path: str(root / volume.name) for volume in volumes}
    return tuple(folders.get(word, word) for word in command)


async def renew(
    client: Client, namespace: str, volumes: Sequence[ConfigVolume], root: Path
) -> None:
    """Bring the folders of volumes in line with their ConfigMaps.

    Raises:
        NotYet: a ConfigMap is missing.
    """
    for volume in volumes:
        try:
            found = await client.get(CONFIG_MAPS, namespace, volume.config_map)
        except ApiError as error:
            if error.code != 404:
                raise
            raise NotYet(f'configmap "{volume.config_map}" not found') from error
        write(root / volume.name, _content(found))


def _content(config_map: Object) -> dict[str, bytes]:
    binary = config_map.get("binaryData") or {}
    return {
        **{key: text.encode() for key, text in (config_map.get("data") or {}).items()},
        **{key: base64.b64decode(text) for key, text in binary.items()},
    }


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Have a folder hold these files and no others, from one moment to the next."""
    version = _version(files)
    data = folder / _DATA
    if data.is_symlink() and os.readlink(data) == version:
        return
    content = folder / version
    shutil.rmtree(content, ignore_errors=True)
    content.mkdir(parents=True)
    for name, text in files.items():
        (content / name).write_bytes(text)
    new = folder / "..new"
    new.unlink(missing_ok=True)
    new.symlink_to(version)
    new.replace(data)
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")
    for path in folder.iterdir():
        if path.is_symlink() and path.name not in {_DATA, *files}:
            path.unlink()
        elif not path.is_symlink() and path.name != version:
            shutil.rmtree(path, ignore_errors=True)


def _version(files: Mapping[str, bytes]) -> str:
    content = hashlib.sha256()
    for name, text in sorted(files.items()):
        content.update(f"{name} {len(text)} ".encode())
        content.update(text)
    return f"..{content.hexdigest()[:16]}"
