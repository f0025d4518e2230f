"""The two ways to an image give the same one, and it holds the Ray that RayJobs ask for."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from modelyard.build.rayjob import RAY_VERSION

from .conftest import REPOSITORY

IMAGES = REPOSITORY / "images"


@pytest.mark.parametrize("name", ["operator", "runtime"])
def test_a_dockerfile_has_the_settings_of_the_script(name: str) -> None:
    command = [sys.executable, str(IMAGES / "assemble.py"), name, "--settings"]
    settings = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    text = (IMAGES / f"{name}.Dockerfile").read_text()
    block = text[text.index("ENV ") : text.index("USER ")]
    found = dict(re.findall(r"(\w+)=(\S+)", block))
    assert found == settings["environment"]
    assert f"USER {settings['user']}" in text


def test_ray_jobs_ask_for_the_ray_that_is_locked() -> None:
    lock = (REPOSITORY / "uv.lock").read_text()
    assert f'name = "ray"\nversion = "{RAY_VERSION}"' in lock
