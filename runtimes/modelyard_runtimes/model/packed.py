"""A packed model as it lies in its folder, read but not yet opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from modelyard.api.artifacts import MODEL_FILE
from pydantic import ValidationError as DocumentError

from modelyard_runtimes.model.errors import ModelError
from modelyard_runtimes.model.format import ModelDocument


class Packed(NamedTuple):
    """A packed model.

    Attributes:
        document: The content of `model.json`.
        files: Content of all files by path.
    """

    document: ModelDocument
    files: Mapping[str, bytes]


def parse(files: Mapping[str, bytes]) -> Packed:
    """Return the packed model in files given by path.

    Raises:
        ModelError: they are none that this version can read, or some are missing.
    """
    if MODEL_FILE not in files:
        raise ModelError(f"there is no {MODEL_FILE}; this is not a packed model")
    try:
        document = ModelDocument.model_validate(json.loads(files[MODEL_FILE]))
    except (ValueError, RecursionError, DocumentError) as error:
        raise ModelError(f"{MODEL_FILE} is not a modelyard/model.v1: {error}") from error
    for member in document.members:
        if member.encoder >= len(document.encoders) or member.file not in files:
            raise ModelError(f"{MODEL_FILE} names {member.file}, which is not in the model")
    return Packed(document, files)


def read(path: Path) -> Packed:
    """Return the packed model in a folder.

    Raises:
        ModelError: it holds none that this version can read.
        OSError: a file cannot be read.
    """
    return parse(
        {
            file.relative_to(path).as_posix(): file.read_bytes()
            for file in sorted(path.rglob("*"))
            if file.is_file()
        }
    )
