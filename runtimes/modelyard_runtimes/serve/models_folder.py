"""The folder that says which models a shared server has: a ServeConfig for each, `<name>.json`.

It is a mounted ConfigMap, which is renewed as a whole. So it is looked at now and then, and read
when a file of it is another one.
"""

from __future__ import annotations

from pathlib import Path

from modelyard.api.runtime import MODEL_CONFIG_SUFFIX, ServeConfig
from pydantic import ValidationError

from modelyard_runtimes.entry import log

_Mark = dict[str, tuple[int, int]]


class ModelsFolder:
    """Reads the folder again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Start with nothing read.

        Args:
            path: The folder.
        """
        self._path = path
        self._mark: _Mark | None = None
        self._known: dict[str, ServeConfig] = {}

    def changed(self) -> dict[str, ServeConfig] | None:
        """Return the models by name, or None where they are those of the last time.

        A file that cannot be read leaves its model as it was, and is told once.
        """
        try:
            mark = self._look()
            if mark == self._mark:
                return None
            found = {
                name.removesuffix(MODEL_CONFIG_SUFFIX): (self._path / name).read_bytes()
                for name in mark
            }
        except OSError as error:  # it is being renewed; the next look finds it whole
            log.warning("%s: %s", self._path, error.strerror)
            return None
        self._mark = mark
        read = {name: self._config(name, text) for name, text in found.items()}
        self._known = {name: config for name, config in read.items() if config is not None}
        return self._known

    def _look(self) -> _Mark:
        files = [path for path in self._path.iterdir() if path.name.endswith(MODEL_CONFIG_SUFFIX)]
        return {
            path.name: (stat.st_mtime_ns, stat.st_ino)
            for path in sorted(files)
            if (stat := path.stat())
        }

    def _config(self, name: str, text: bytes) -> ServeConfig | None:
        try:
            config = ServeConfig.model_validate_json(text)
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(map(str, fault["loc"]))
            log.error("%s%s: %s: %s", name, MODEL_CONFIG_SUFFIX, field, fault["msg"])
            return self._known.get(name)
        if config.name != name:
            log.error("%s%s: name: it is %r", name, MODEL_CONFIG_SUFFIX, config.name)
            return self._known.get(name)
        return config
