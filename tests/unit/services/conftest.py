"""A place for services, and small scripts to stand in for theirs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Script = Callable[..., Path]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Makes an executable bash script with the given body and returns its path."""

    def make(body: str, name: str = "servicerunner", first_line: str = "#!/bin/bash\n") -> Path:
        path = tmp_path / name
        path.write_text(first_line + body)
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def plain_env() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
