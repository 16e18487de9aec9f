"""What `install` leaves on a host: files, launcher, volumes; and what it makes of what is there already."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

from support.engines import Host
from support.images import build_image
from support.probe import SCRIPTS, SERVICERUNNER, build_probe, document, refused, snapshot
from support.services import build_fixture

VARIABLES = """\
# The variables of this service, for its servicerunner.
# Written at install, recover and update.
DOCKERVOLS=("drunner-mine-config" "drunner-mine-varlibsecond")
DOCKEROPTS=("-v" "drunner-mine-config:/config" "-v" "drunner-mine-varlibsecond:/var/lib/second")
VOLUMES=("/config" "/var/lib/second")
EXTRACONTAINERS=()
SERVICENAME="mine"
IMAGENAME="test/second:2016"
INSTALLTIME="TIME"
HOSTIP="127.0.0.1"
SERVICETEMPDIR="ROOT/services/mine/temp"
"""


def mountpoint(host: Host, volume: str) -> Path:
    """The directory of a volume."""
    return Path(host.docker("volume", "inspect", "-f", "{{.Mountpoint}}", volume).stdout.strip())


def test_the_service_gets_the_variables_its_script_relies_on(host: Host) -> None:
    host.drunner("install", build_fixture(host, "second"), "mine")
    home = host.root / "services" / "mine"
    text = (home / "drunner" / "variables.sh").read_text()
    text = re.sub(r'INSTALLTIME="\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000"', 'INSTALLTIME="TIME"', text)
    assert text.replace(str(host.root), "ROOT") == VARIABLES
    assert (home / "imagename.sh").read_text() == 'IMAGENAME="test/second:2016"\n'
    assert (home / "temp").stat().st_mode & 0o777 == 0o777


def test_scripts_are_roots_and_nobody_may_write_them(host: Host) -> None:
    image = build_image(host, "test/deep:1", {**SCRIPTS, "/drunner/deep/er/file": "text"})
    host.drunner("install", image, "mine")
    home = host.root / "services" / "mine"
    scripts = home / "drunner"
    found = sorted(path.relative_to(scripts).as_posix() for path in scripts.rglob("*") if path.is_file())
    assert found == ["deep/er/file", "servicecfg.sh", "servicerunner", "utils.sh", "variables.sh"]
    for name in found:
        status = (scripts / name).lstat()
        assert stat.S_ISREG(status.st_mode)
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o500, 0, 0), name
    assert (scripts / "servicerunner").read_text() == SERVICERUNNER
    assert home.stat().st_mode & 0o077 == 0


def test_utils_sh_gives_scripts_the_functions_they_expect(host: Host) -> None:
    host.drunner("install", build_probe(host), "mine")
    host.run("mine", "keep")
    scripts = host.root / "services" / "mine" / "drunner"
    script = """
        set -eu
        source variables.sh; source utils.sh
        container_exists mine; container_running mine
        ! container_paused mine; ! container_exists min; ! container_running other
        volumeexists drunner-mine-data; ! volumeexists drunner-mine
        elementIn b a b; ! elementIn c a b
        isHook backup_start; ! isHook backup
        echo "${CODE_S}green${CODE_E}"
        ( die "no more" 3 ) || echo "died $?"
    """
    done = host.run("bash", "-c", script, cwd=scripts)
    assert done.stdout.split() == ["\x1b[32mgreen\x1b[0m", "died", "3"]
    assert "no more" in done.stderr


def test_the_launcher_is_two_lines_that_anybody_may_run(host: Host) -> None:
    host.drunner("install", build_probe(host), "mine")
    launcher = host.bin_dir / "mine"
    assert launcher.read_text() == '#!/bin/bash\ndrunner servicecmd mine "$@"\n'
    assert launcher.stat().st_mode & 0o7777 == 0o755


def test_volumes_are_not_empty_and_belong_to_the_images_user(host: Host) -> None:
    """An empty one would be filled from the image, with the image's owner, when it is first mounted."""
    image = build_image(
        host,
        "test/filled:1",
        SCRIPTS,
        user="4711",
        instructions=["RUN mkdir /data && touch /data/from-the-image && chmod 700 /data"],
    )
    host.drunner("install", image, "mine")
    directory = mountpoint(host, "drunner-mine-data")
    assert (directory.stat().st_uid, directory.stat().st_gid) == (4711, 0)
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} .* \+0000\n", (directory / "install_date").read_text())
    host.run("mine", "write", "ours")
    assert sorted(path.name for path in directory.iterdir()) == ["install_date", "written"]


def test_a_user_by_name_is_looked_up_in_the_images_own_passwd(host: Host) -> None:
    passwd = "root:x:0:0::/:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nkeeper:x:31337:100::/:/bin/sh\n"
    image = build_image(host, "test/named:1", {**SCRIPTS, "/etc/passwd": passwd}, user="keeper:daemon")
    host.drunner("install", image, "mine")
    assert mountpoint(host, "drunner-mine-data").stat().st_uid == 31337
    assert json.loads((host.root / "services" / "mine" / "service.json").read_text())["uid"] == 31337


def test_nothing_of_the_image_runs_before_its_install_hook(host: Host) -> None:
    """Also with an entry point that would fail, and without a shell."""
    image = build_image(host, "test/entry:1", SCRIPTS, instructions=['ENTRYPOINT ["/no/such/program"]'])
    assert document(host.drunner("checkimage", image, "--json"))["uid"] == 22022
    host.drunner("install", image, "mine")


def test_a_service_is_named_after_the_last_part_of_its_image(host: Host) -> None:
    assert document(host.drunner("install", build_probe(host, "test/probe:1"), "--json"))["service"] == "probe"
    assert host.launchers() == {"probe"}


def test_installing_what_is_installed_changes_nothing_and_exits_3(host: Host) -> None:
    build_probe(host, "test/probe:latest")
    host.drunner("install", "test/probe")
    for same in ("test/probe", "test/probe:latest"):
        assert "installed already" in refused(host, "install", same, code=3)


def test_installing_another_image_over_a_service_is_refused(host: Host) -> None:
    host.drunner("install", build_probe(host, "test/probe:1"))
    said = refused(host, "install", build_probe(host, "test/probe:2"))
    assert "test/probe:1" in said
    assert "drunner-vault install test/probe:2 NAME" in said


def test_a_launcher_that_is_not_ours_is_never_overwritten(host: Host) -> None:
    (host.bin_dir / "mine").write_text("#!/bin/sh\necho something of somebody's\n")
    assert "is not the launcher of mine" in refused(host, "install", build_probe(host), "mine")


def test_a_launcher_that_drunner_left_is_taken_over(host: Host) -> None:
    (host.bin_dir / "mine").write_text('#!/bin/bash\n\ndrunner servicecmd mine "$@"\n')
    host.drunner("install", build_probe(host), "mine")
    assert host.run("mine", "version").stdout == "one\n"


def test_volumes_that_are_there_already_are_used_as_they_are(host: Host) -> None:
    host.docker("volume", "create", "drunner-mine-data")
    directory = mountpoint(host, "drunner-mine-data")
    (directory / "written").write_text("earlier\n")
    host.drunner("install", build_probe(host), "mine")
    assert host.run("mine", "read").stdout == "earlier\n"
    assert not (directory / "install_date").exists()


def test_a_failed_install_keeps_the_volumes_that_were_there(host: Host) -> None:
    host.docker("volume", "create", "drunner-mine-data")
    (mountpoint(host, "drunner-mine-data") / "written").write_text("earlier\n")
    refused(host, "install", build_probe(host), "mine", env={"FAIL_AT": "install"})


def test_status_and_list_say_what_is_installed(host: Host) -> None:
    host.drunner("install", build_probe(host), "mine")
    host.drunner("install", build_fixture(host, "third"), "other")
    listed = document(host.drunner("list", "--json"))
    assert [(state["name"], state["image"], state["problems"]) for state in listed] == [  # type: ignore[index]
        ("mine", "test/probe:1", []),
        ("other", "test/third:2016", []),
    ]
    assert document(host.drunner("status", "mine", "--json"))["volumes"] == ["drunner-mine-data"]
    assert "all well" in host.drunner("status", "mine").stdout


def test_status_finds_whatever_is_missing(host: Host) -> None:
    host.drunner("install", build_probe(host), "mine")
    host.docker("volume", "rm", "drunner-mine-data")
    done = host.drunner("status", "mine", check=False)
    assert done.returncode == 1
    assert "volume drunner-mine-data is missing" in done.stdout
    (host.bin_dir / "mine").unlink()
    assert "launcher" in host.drunner("status", "mine", check=False).stdout
    (host.root / "services" / "mine" / "drunner" / "utils.sh").unlink()
    assert "utils.sh is missing" in host.drunner("status", "mine", check=False).stdout
    assert "utils.sh is missing" in host.drunner("list").stdout


def test_on_a_host_where_nothing_was_ever_installed_there_is_nothing_to_see(host: Host) -> None:
    before = snapshot(host)
    assert document(host.drunner("list", "--json")) == []
    host.drunner("list")
    assert not host.root.exists()
    assert snapshot(host) == before


def test_settings_place_the_services_elsewhere(host: Host) -> None:
    host.write_config_sh()
    text = (host.config_dir / "config.sh").read_text()
    (host.config_dir / "config.sh").write_text(text.replace(str(host.root), str(host.home / "elsewhere")))
    host.drunner("install", build_probe(host), "mine", env={"DRUNNER_ROOT": ""})
    assert (host.home / "elsewhere" / "services" / "mine" / "imagename.sh").exists()
