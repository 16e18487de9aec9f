"""Bad input to the commands for services: one clear error, what to do next, exit 1, and nothing changed."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.engines import Host
from support.images import Content, build_image
from support.probe import SCRIPTS, build_probe, document, failed, refused, snapshot
from support.services import read_calls

_numbers = itertools.count(1)

ON_A_SERVICE = ("update", "uninstall", "obliterate", "recover", "status", "enter", "servicecmd", "backup")


def image_of(host: Host, files: Mapping[str, Content], user: str | None = "22022", *instructions: str) -> str:
    """An image of these files under a name that no other test has."""
    return build_image(host, f"test/unfit:{next(_numbers)}", files, user=user, instructions=instructions)


def refused_image(host: Host, image: str) -> str:
    """What `checkimage` and `install` say of an image; they must agree."""
    said = refused(host, "install", image, "mine")
    assert failed(host, "checkimage", image) == said
    return said


def test_an_unknown_service_is_no_service(host: Host) -> None:
    before = snapshot(host)
    for command in ON_A_SERVICE:
        arguments = ["/nowhere/archive"] if command == "backup" else []
        said = failed(host, command, "nobody", *arguments, env={"PASS": "word"})
        assert "there is no service named nobody" in said, command
    assert snapshot(host) == before


BAD_NAMES = ["../x", "..", ".hidden", "", "x" * 300, "two words", "a\nb", "é", "$(id)", "drunner", "cd"]


def test_an_impossible_name_is_refused(host: Host) -> None:
    before = snapshot(host)
    for command in ON_A_SERVICE:
        arguments = ["/nowhere/archive"] if command == "backup" else []
        for name in BAD_NAMES if command == "obliterate" else BAD_NAMES[::4]:
            said = failed(host, command, name, *arguments, env={"PASS": "word"})
            assert "name of a service" in said or "service name" in said, name
    assert snapshot(host) == before


def test_nothing_can_be_installed_under_an_impossible_name(host: Host) -> None:
    image = build_probe(host)
    before = snapshot(host)
    for name in [*BAD_NAMES, "-"]:
        said = failed(host, "install", image, name)
        assert "name of a service" in said or "service name" in said, name
    assert "name of a service" in failed(host, "recover", "../x", image)
    assert snapshot(host) == before


def test_a_name_that_looks_like_an_option_is_refused(host: Host) -> None:
    image = build_probe(host)
    for command in (("install", image, "-x"), ("status", "-x"), ("enter", "-x"), ("servicecmd", "-x")):
        assert "No such option" in refused(host, *command)
    for command in (("install", image, "--", "-x"), ("status", "--", "-x")):
        assert "'-x' cannot be the name of a service" in refused(host, *command)


def test_a_service_cannot_hide_a_command_of_the_host(host: Host) -> None:
    image = build_probe(host)
    for name in ("ls", "dockerd"):
        assert f"a command named {name} is on this host already" in refused(host, "install", image, name)
        assert f"there is no service named {name}" in refused(host, "obliterate", name)


def test_an_image_whose_name_makes_no_service_name_needs_one(host: Host) -> None:
    image = build_probe(host, "test/ls:1")
    assert "a command named ls" in refused(host, "install", image)
    host.drunner("install", image, "mine")


def test_what_names_no_image_is_refused(host: Host) -> None:
    before = snapshot(host)
    for reference in ("", "../x", "a b", "x\ny", "é", "a//b", "?all=1", "x/../../containers/json", "-"):
        assert "is no name of an image" in failed(host, "install", reference, "mine")
    for command in (("checkimage", "a b"), ("recover", "mine", "a b")):
        assert "is no name of an image" in failed(host, *command)
    assert snapshot(host) == before


def test_an_image_that_is_nowhere_is_refused(host: Host) -> None:
    for reference in ("127.0.0.1:9/no/such:1", "UPPER/case", "x:bad@tag", "127.0.0.1:9/x@sha256:" + "0" * 64):
        said = refused_image(host, reference)
        assert "cannot pull" in said or "cannot look up" in said


PASSWD = "root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\nzeros:x:00:0::/:/bin/sh\n"


@pytest.mark.parametrize("user", [None, "root", "0", "0:0", "00", ":22022", "toor", "zeros", "toor:22022"])
def test_an_image_that_runs_as_root_is_refused(host: Host, user: str | None) -> None:
    assert "runs as root" in refused_image(host, image_of(host, {**SCRIPTS, "/etc/passwd": PASSWD}, user))


def test_an_image_whose_user_it_does_not_know_itself_is_refused(host: Host) -> None:
    for user in ("stranger", "+0", "²"):
        image = image_of(host, SCRIPTS, None)
        host.run("docker", "build", "-q", "-t", image, "-", input=f"FROM {image}\nUSER {user}\n")
        assert f"runs as {user}, whom its /etc/passwd does not know" in refused_image(host, image)


def without(name: str) -> dict[str, Content]:
    """The files of a service but one."""
    return {path: data for path, data in SCRIPTS.items() if not path.endswith(name)}


def test_an_image_that_lacks_a_file_is_refused(host: Host) -> None:
    assert "no /drunner/servicerunner" in refused_image(host, image_of(host, {"/etc/nothing": "x"}))
    assert "no /drunner/servicerunner" in refused_image(host, image_of(host, without("servicerunner")))
    assert "no /drunner/servicecfg.sh" in refused_image(host, image_of(host, without("servicecfg.sh")))
    empty = {**SCRIPTS, "/drunner/servicerunner": "\n"}
    assert "servicerunner is empty" in refused_image(host, image_of(host, empty))


def test_an_image_of_the_one_script_convention_is_told_apart(host: Host) -> None:
    names = ("install", "destroy", "help", "backup", "restore", "enter")
    image = image_of(host, {f"/drunner/{name}": "#!/bin/bash\n" for name in names})
    said = refused_image(host, image)
    assert "one script per command" in said
    assert "servicerunner" in said.splitlines()[1]


def test_an_image_of_the_later_conventions_is_told_apart(host: Host) -> None:
    lua = image_of(host, {"/drunner/service.lua": "x"})
    assert "dRunner 0.7 or later" in refused_image(host, lua)
    compose = image_of(host, {**without("servicecfg.sh"), "/drunner/docker-compose.yml": "x"})
    assert "dRunner 0.4 to 0.6" in refused_image(host, compose)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("VOLUMES=(/data)\nrm -rf /\n", "line 2: only literal assignments are allowed: rm -rf /"),
        (
            'VOLUMES=("$HOME")\n',
            'line 1: variables and commands are not allowed, only literal values: VOLUMES=("$HOME")',
        ),
        ("VOLUMES=(`id`)\n", "VOLUMES=(`id`)"),
        ("VOLUMES=(/data\n", "line 1: this array is never closed"),
        ("VOLUMES=(/data)\nCOLOUR=red\n", "COLOUR"),
        ("VERSION=3\n", "VERSION=3"),
        ("VOLUMES=(data)\n", "'data' is not an absolute path"),
        ("VOLUMES=(/data/../etc)\n", "contains '..'"),
        ("VOLUMES=(/)\n", "whole file system"),
        ("VOLUMES=(/a:/b)\n", "colon"),
        ("EXTRACONTAINERS=('a b')\n", "not the name of an image"),
        ("VOLUMES=(/a/b /ab)\n", "the volumes '/a/b' and '/ab' would both be stored in drunner-"),
        ("VOLUMES=(/--)\n", "neither a letter nor a digit"),
    ],
)
def test_settings_that_cannot_be_read_are_shown(host: Host, settings: str, line: str) -> None:
    said = refused_image(host, image_of(host, {**SCRIPTS, "/drunner/servicecfg.sh": settings}))
    assert line in said


def test_links_and_devices_in_the_image_are_refused(host: Host) -> None:
    for instruction in ("ln -s /etc/passwd /drunner/x", "mkfifo /drunner/x", "ln -s ../../x /drunner/x"):
        said = refused_image(host, image_of(host, SCRIPTS, "22022", f"RUN {instruction}"))
        assert "/drunner/x: it is " in said


def test_a_refused_image_leaves_an_installed_service_alone(host: Host) -> None:
    host.drunner("install", build_probe(host), "mine")
    refused(host, "recover", "mine", image_of(host, SCRIPTS, None))
    assert host.run("mine", "version").stdout == "one\n"


@pytest.mark.parametrize("hook", ["install", "updatestart", "updateend", "uninstall", "obliterate"])
def test_a_hook_that_fails_is_reported_and_nothing_changes(host: Host, tmp_path: Path, hook: str) -> None:
    host.write_config_sh()
    image = build_probe(host, f"test/failing-{hook}:1")
    command = {"updatestart": "update", "updateend": "update"}.get(hook, hook)
    if hook == "install":
        arguments = [image, "mine"]
    else:
        host.drunner("install", image, "mine")
        build_probe(host, image, version="two")
        arguments = ["mine"]
    log = tmp_path / "log"
    said = refused(host, command, *arguments, env={"FAIL_AT": hook, "SERVICE_LOG": str(log)})
    assert f'the {hook} hook of mine failed with exit code 4: it says "told to fail at {hook}"' in said
    assert hook in [call.event for call in read_calls(log)]


def test_a_hook_that_cannot_be_started_is_reported(host: Host) -> None:
    script = "#!/no/such/shell\n"
    said = refused(host, "install", image_of(host, {**SCRIPTS, "/drunner/servicerunner": script}), "mine")
    assert "/no/such/shell" in said
    host.drunner("install", build_probe(host), "mine")
    (host.root / "services" / "mine" / "drunner" / "servicerunner").unlink()
    for command in ("servicecmd", "enter", "uninstall", "obliterate"):
        assert "servicerunner" in refused(host, command, "mine")


def test_a_terminal_cannot_be_taken_over_by_what_a_hook_says(host: Host) -> None:
    script = "#!/bin/bash\nprintf 'bad \\033]0;owned\\007 news\\n' ; exit 1\n"
    said = refused(host, "install", image_of(host, {**SCRIPTS, "/drunner/servicerunner": script}), "mine")
    assert "\033" not in said
    assert "news" in said


NEEDS_ENGINE = [
    ["checkimage", "test/probe:1"],
    ["install", "test/probe:1", "other"],
    ["update", "mine"],
    ["recover", "mine"],
    ["uninstall", "mine"],
    ["obliterate", "mine"],
    ["status", "mine"],
    ["clean"],
]


@pytest.mark.parametrize(
    "where",
    ["unix:///no/such/socket", "nonsense", "tcp://127.0.0.1:9", "unix://", "http://[", "ssh://", "tcp://x:y", "fd://"],
)
def test_without_an_engine_every_command_says_where_it_looked(host: Host, where: str) -> None:
    host.drunner("install", build_probe(host), "mine")
    host.write_config_sh()
    commands = NEEDS_ENGINE if where.startswith("unix:///") else NEEDS_ENGINE[:1]
    for command in commands:
        said = refused(host, *command, env={"DOCKER_HOST": where})
        assert f"no Docker engine answers at {where}" in said, command
        assert "DOCKER_HOST" in said.splitlines()[1]
    assert "mine" in host.drunner("list", env={"DOCKER_HOST": where}).stdout


def test_an_engine_is_not_asked_for_a_services_own_commands(host: Host) -> None:
    host.drunner("install", build_probe(host), "mine")
    assert host.run("mine", "version", env={"DOCKER_HOST": "unix:///no/such/socket"}).stdout == "one\n"


def test_settings_of_the_host_that_make_no_sense_are_shown(host: Host) -> None:
    host.write_config_sh()
    path = host.config_dir / "config.sh"
    good = path.read_text()
    for wrong, shown in (("PULLONUPDATE=2", "PULLONUPDATE"), ("ROOTPATH=$HOME", "line 6"), ("rm -rf /", "line 6")):
        path.write_text(
            good.replace("readonly PULLONUPDATE=0", "").replace("readonly ROOTPATH", "OTHER") + wrong + "\n"
        )
        said = refused(host, "list")
        assert str(path) in said
        assert shown in said


def test_a_root_that_cannot_be_a_directory_is_refused(host: Host, tmp_path: Path) -> None:
    image = build_probe(host)
    file, nowhere = tmp_path / "file", tmp_path / "link"
    file.touch()
    nowhere.symlink_to(tmp_path / "nothing")
    for root in (file, nowhere):
        assert str(root) in refused(host, "install", image, "mine", env={"DRUNNER_ROOT": str(root)})


def test_usage_that_makes_no_sense_is_refused(host: Host) -> None:
    for command in (["nonsense"], ["install"], ["update"], ["update", "a", "b"], ["list", "--nonsense"], ["enter"]):
        said = refused(host, *command)
        assert "--help" in said.splitlines()[1]


def json_of(host: Host, *args: str, env: Mapping[str, str] | None = None) -> tuple[int, dict[str, object]]:
    """The exit code and the one document of ``drunner ARGS --json``."""
    done = host.drunner(*args, check=False, env=env)
    return done.returncode, document(done)


def test_with_json_each_command_prints_one_document(host: Host) -> None:
    host.write_config_sh()
    image = build_probe(host, "test/json:1")
    host.drunner("clean", check=False)
    for expected, command in (
        (0, ["list"]),
        (0, ["checkimage", image]),
        (0, ["install", image, "mine"]),
        (3, ["install", image, "mine"]),
        (0, ["status", "mine"]),
        (0, ["list"]),
        (3, ["update", "mine"]),
        (0, ["recover", "mine"]),
        (0, ["uninstall", "mine"]),
        (0, ["recover", "mine", image]),
        (0, ["obliterate", "mine"]),
        (3, ["clean"]),
    ):
        code, said = json_of(host, *command, "--json")
        assert code == expected, command
        assert isinstance(said, list) or ("error" in said) == bool(expected), command


def test_with_json_an_error_is_one_document_too(host: Host) -> None:
    down = {"DOCKER_HOST": "unix:///no/such/socket"}
    for kind, command, env in (
        ("UnknownService", ["status", "nobody", "--json"], None),
        ("UnknownService", ["enter", "--json", "nobody"], None),
        ("UnknownService", ["servicecmd", "--json", "nobody", "--", "x"], None),
        ("BadServiceName", ["obliterate", "../x", "--json"], None),
        ("BadUsage", ["install", "--json"], None),
        ("BadUsage", ["install", "--json", "--nonsense"], None),
        ("BadUsage", ["checkimage", "a b", "--json"], None),
        ("EngineDown", ["checkimage", "x", "--json"], down),
        ("EngineDown", ["clean", "--json"], down),
        ("UnknownService", ["uninstall", "nobody", "--json"], None),
        ("UnknownService", ["recover", "nobody", "--json"], None),
        ("UnknownService", ["update", "nobody", "--json"], None),
    ):
        code, said = json_of(host, *command, env=env)
        assert (code, said["error"]["kind"], said["error"]["code"]) == (1, kind, 1)  # type: ignore[index]


def test_json_is_whole_whatever_bytes_it_is_about(host: Host) -> None:
    command = [*host.command("drunner"), "status", "--json", "--", b"caf\xc3\xa9 \xff"]
    for locale in ("C", "C.UTF-8", "POSIX"):
        env = host.environment() | {"LANG": locale, "LC_ALL": locale}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        assert document(done)["error"]["kind"] == "BadServiceName"  # type: ignore[index]


def test_an_option_after_the_services_name_is_not_ours(host: Host) -> None:
    done = host.drunner("servicecmd", "nobody", "--json", check=False)
    assert done.stdout == ""
    assert "there is no service named nobody" in done.stderr


def test_who_is_not_root_is_told_so(host: Host) -> None:
    """Another user, but one who may read the program wherever it is."""
    user = (
        "--reuid=22022",
        "--regid=22022",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    )
    done = host.run("setpriv", *user, "drunner", "list", check=False)
    assert done.returncode == 1
    assert "error: services belong to root, and we are not" in done.stderr
