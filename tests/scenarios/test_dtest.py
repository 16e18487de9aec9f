"""What dRunner's own test service asks of a host, by a script that calls `drunner` as a person would."""

from __future__ import annotations

import shutil

import pytest
from support.engines import Host
from support.probe import snapshot
from support.services import DTEST, build_fixture


@pytest.mark.parametrize("service", ["first", "second", "third"])
def test_the_sequence_of_dtest_passes_and_leaves_nothing_behind(host: Host, service: str) -> None:
    host.write_config_sh()
    image = build_fixture(host, service)
    host.docker("image", "prune", "--force")  # as `clean` will, which is part of the sequence
    before = snapshot(host)
    done = host.run(DTEST, image, f"{service}-service", check=False)
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout
    shutil.rmtree(host.root / "vault")  # the history of what was done, which is to stay
    host.root.rmdir()  # there is nothing else in it
    assert snapshot(host) == before
