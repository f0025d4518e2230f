"""A real API server of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .running import Site, open_site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An API server with our kinds and no backend."""
    site = open_site(tmp_path)
    yield site
    site.close()
