"""/etc/drunner/config.sh."""

from __future__ import annotations

from pathlib import Path

import pytest

from drunner_vault.errors import BadUsage
from drunner_vault.services.config_sh import HostConfig, read_config_sh

OF_2016 = """\
#!/bin/bash
readonly ROOTPATH="/srv/drunner"
readonly SUPPORTIMAGE="drunner/support:latest"
readonly PULLONUPDATE=0
readonly DRUNNERINSTALLURL="https://example.com/install"
readonly DRUNNERINSTALLTIME="Mon, 08 Feb 2016 01:34:40 +0000"
"""


def config(tmp_path: Path, text: str) -> HostConfig:
    (tmp_path / "config.sh").write_text(text)
    return read_config_sh(tmp_path / "config.sh")


def test_the_file_of_2016_is_read(tmp_path: Path) -> None:
    assert config(tmp_path, OF_2016) == HostConfig(pull_on_update=False, root=Path("/srv/drunner"))


def test_without_the_file_things_are_as_usual(tmp_path: Path) -> None:
    assert read_config_sh(tmp_path / "absent") == HostConfig(pull_on_update=True, root=None)
    assert config(tmp_path, "") == HostConfig()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("\nROOTPATH=$HOME\n", r"config.sh, line 2: .*ROOTPATH=\$HOME"),
        ("PULLONUPDATE=no\n", "config.sh: PULLONUPDATE is 'no'"),
        ("PULLONUPDATE=(0)\n", "PULLONUPDATE"),
        ("ROOTPATH=relative\n", "ROOTPATH is 'relative'"),
    ],
)
def test_what_cannot_be_read_is_shown(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadUsage, match=reason) as caught:
        config(tmp_path, text)
    assert caught.value.hint


def test_a_file_that_cannot_be_opened_is_not_taken_for_absent(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="cannot read"):
        read_config_sh(tmp_path)
