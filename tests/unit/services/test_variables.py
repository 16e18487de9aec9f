"""variables.sh and imagename.sh."""

from __future__ import annotations

import datetime as dt
import ipaddress
import subprocess
from pathlib import Path

import pytest

from drunner_vault.errors import BadImage
from drunner_vault.services.servicecfg import ServiceConfig
from drunner_vault.services.shell import parse_assignments
from drunner_vault.services.variables import host_ip, render_imagename, render_variables, source_address

INSTALLED = dt.datetime(2016, 2, 8, 2, 34, 40, tzinfo=dt.timezone(dt.timedelta(hours=1)))


def render(config: ServiceConfig, image: str = "drunner/x:1") -> str:
    return render_variables(
        "x", image, config, installed=INSTALLED, host_ip="10.0.0.1", temp_dir=Path("/opt/drunner/services/x/temp")
    )


def test_variables_are_written_in_the_order_and_syntax_that_services_know() -> None:
    text = render(ServiceConfig(("/p1", "/p/2"), ("db:1",)))
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        'DOCKERVOLS=("drunner-x-p1" "drunner-x-p2")',
        'DOCKEROPTS=("-v" "drunner-x-p1:/p1" "-v" "drunner-x-p2:/p/2")',
        'VOLUMES=("/p1" "/p/2")',
        'EXTRACONTAINERS=("db:1")',
        'SERVICENAME="x"',
        'IMAGENAME="drunner/x:1"',
        'INSTALLTIME="Mon, 08 Feb 2016 01:34:40 +0000"',
        'HOSTIP="10.0.0.1"',
        'SERVICETEMPDIR="/opt/drunner/services/x/temp"',
    ]
    assert text.splitlines()[0].startswith("#")
    assert text.splitlines()[1].startswith("#")


def test_a_service_without_volumes_has_empty_arrays_under_nounset(tmp_path: Path) -> None:
    path = tmp_path / "variables.sh"
    path.write_text(render(ServiceConfig()))
    count = 'set -eu; source "$1"; echo ${#DOCKERVOLS[@]} ${#DOCKEROPTS[@]} ${#EXTRACONTAINERS[@]}'
    done = subprocess.run(["bash", "-c", count, "bash", path], capture_output=True, text=True, check=True)
    assert done.stdout == "0 0 0\n"


def test_a_value_cannot_run_anything(tmp_path: Path) -> None:
    image = f'$(touch {tmp_path}/ran)`touch {tmp_path}/ran`";touch {tmp_path}/ran;"'
    (tmp_path / "variables.sh").write_text(render(ServiceConfig(), image))
    subprocess.run(["bash", "-c", 'source "$1"', "bash", tmp_path / "variables.sh"], check=True)
    assert not (tmp_path / "ran").exists()
    assert parse_assignments((tmp_path / "variables.sh").read_bytes())["IMAGENAME"] == image


def test_volumes_that_would_share_a_name_are_refused() -> None:
    with pytest.raises(BadImage, match="would both be stored"):
        render(ServiceConfig(("/a/b", "/ab")))


def test_imagename_is_one_line() -> None:
    assert render_imagename("host:5000/x@sha256:0") == 'IMAGENAME="host:5000/x@sha256:0"\n'


def test_the_address_is_the_field_after_src_not_the_last_one() -> None:
    assert source_address("1.0.0.0 via 10.0.0.254 dev eth0 src 10.0.0.7 uid 0 \n    cache\n") == "10.0.0.7"


@pytest.mark.parametrize("route", ["", "RTNETLINK answers: Network is unreachable", "1.0.0.0 dev lo src"])
def test_without_a_route_the_address_is_this_host_itself(route: str) -> None:
    assert source_address(route) == "127.0.0.1"


def test_host_ip_is_an_address() -> None:
    ipaddress.ip_address(host_ip())


def test_host_ip_works_without_the_program_ip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert host_ip() == "127.0.0.1"
