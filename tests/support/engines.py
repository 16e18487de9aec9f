"""Private Docker engines, each in a network namespace of its own: what a test calls "a host".

The work of starting and stopping is in ``scripts/private-engine.sh``, which the demonstration uses too.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PRIVATE_ENGINE = CHECKOUT / "scripts" / "private-engine.sh"
TOOLS = ("dockerd", "containerd", "docker", "ip", "nsenter", "busybox", "bash")

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_counter = itertools.count(1)

Completed = subprocess.CompletedProcess[str]


class CommandFailedError(AssertionError):
    """A command of a test's own making exited non-zero; shows what it said."""

    def __init__(self, argv: Sequence[str], done: Completed) -> None:
        super().__init__(
            f"{' '.join(argv)}\nexited {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
        )
        self.returncode = done.returncode


@dataclass(frozen=True)
class Host:
    """One machine as its user sees it: an engine, and the places where the program keeps its things.

    ``directory`` is the engine's; ``root``, ``bin_dir``, ``config_dir`` and ``home`` belong to this view of it, and
    ``anew`` gives a second view with nothing installed.
    """

    name: str
    netns: str
    directory: Path
    home: Path
    docker_host: str
    root: Path = field(init=False)
    bin_dir: Path = field(init=False)
    config_dir: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", self.home / "opt-drunner")
        object.__setattr__(self, "bin_dir", self.home / "bin")
        object.__setattr__(self, "config_dir", self.home / "etc-drunner")

    def anew(self) -> Host:
        """The same engine under a new home: no service, no settings, no login."""
        host = replace(self, home=self.directory.parent / f"home{next(_counter)}")
        host.bin_dir.mkdir(parents=True)
        return host

    def environment(self) -> dict[str, str]:
        """What a root login on this host has, and nothing of the test run's own environment."""
        own = {
            "DOCKER_HOST": self.docker_host,
            "DOCKER_CONFIG": str(self.home / ".docker"),
            "DRUNNER_ROOT": str(self.root),
            "DRUNNER_BIN": str(self.bin_dir),
            "DRUNNER_CONFIG_DIR": str(self.config_dir),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PATH": f"{self.bin_dir}:{programs_directory()}:{_SYSTEM_PATH}",
            "TERM": "dumb",
        }
        passed_on = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        return own | passed_on

    def run(
        self,
        *argv: str | Path,
        input: str | None = None,  # noqa: A002 - subprocess.run's own word
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        in_netns: bool = True,
        timeout: float = 120,
    ) -> Completed:
        """Run a command as a person on this host would, without a terminal. ``env`` is added to ``environment()``.

        Raises ``CommandFailedError`` when it exits non-zero, unless ``check`` is false.
        """
        command = self.command(*argv, in_netns=in_netns)
        done = subprocess.run(
            command,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            env=self.environment() | dict(env or {}),
            cwd=cwd or self.home,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise CommandFailedError(command, done)
        return done

    def command(self, *argv: str | Path, in_netns: bool = True) -> list[str]:
        """The argument vector that runs ``argv`` inside this host's network, for use with ``Popen``."""
        prefix = ["nsenter", f"--net=/var/run/netns/{self.netns}", "--"] if in_netns else []
        return [*prefix, *map(str, argv)]

    def drunner(self, *args: str | Path, **options: object) -> Completed:
        """``drunner ARGS``; options as for ``run``."""
        return self.run("drunner", *args, **options)  # type: ignore[arg-type]

    def docker(self, *args: str | Path, **options: object) -> Completed:
        """``docker ARGS``; options as for ``run``."""
        return self.run("docker", *args, **options)  # type: ignore[arg-type]

    def containers(self) -> set[str]:
        """Names of all containers on the engine, running or not."""
        return set(self.docker("ps", "-a", "--format", "{{.Names}}").stdout.split())

    def volumes(self) -> set[str]:
        """Names of all volumes on the engine."""
        return set(self.docker("volume", "ls", "-q").stdout.split())

    def launchers(self) -> set[str]:
        """Names of the commands in ``bin_dir``."""
        return {entry.name for entry in self.bin_dir.iterdir()}

    def write_config_sh(self, pull_on_update: int = 0) -> None:
        """The five settings of ``/etc/drunner/config.sh``; 0 keeps ``update`` on images built here."""
        self.config_dir.mkdir(parents=True, exist_ok=True)
        (self.config_dir / "config.sh").write_text(
            textwrap.dedent(f"""\
            readonly ROOTPATH="{self.root}"
            readonly SUPPORTIMAGE="drunner/support:latest"
            readonly PULLONUPDATE={pull_on_update}
            readonly DRUNNERINSTALLURL="https://drunner.invalid/install"
            readonly DRUNNERINSTALLTIME="Mon, 08 Feb 2016 01:34:40 +0000"
            """)
        )

    def remove_all_but(self, containers: set[str], volumes: set[str]) -> None:
        """Remove every container and volume not named."""
        extra = self.containers() - containers
        for name in extra:
            # A frozen process cannot die.
            self.docker("unpause", name, check=False)
        if extra:
            self.docker("rm", "-f", "-v", *extra)
        unwanted = self.volumes() - volumes
        if unwanted:
            self.docker("volume", "rm", "-f", *unwanted)


def missing_parts() -> str:
    """Why an engine cannot be started here, or an empty string."""
    if os.geteuid() != 0:
        return "starting a Docker engine needs root"
    absent = [tool for tool in TOOLS if shutil.which(tool, path=_SYSTEM_PATH) is None]
    return f"not installed: {', '.join(absent)} (try: make setup)" if absent else ""


def programs_directory() -> Path:
    """Where ``drunner`` and ``drunner-vault`` are: beside the interpreter, or written there for this checkout.

    An interpreter that only has the dependencies gets two small scripts in a directory of their own.
    """
    beside = Path(sys.executable).parent
    if (beside / "drunner").exists():
        return beside
    directory = CHECKOUT / ".pytest_cache" / "bin"
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("drunner", "drunner-vault"):
        script = directory / name
        if not script.exists():
            written = directory / f"{name}.{os.getpid()}"
            written.write_text(f'#!/bin/sh\nPYTHONPATH="{CHECKOUT}" exec "{sys.executable}" -m drunner_vault "$@"\n')
            written.chmod(0o755)
            written.replace(script)
    return directory


@contextmanager
def working_directory() -> Iterator[Path]:
    """A directory with a short name on a real disk, where engines can keep their data."""
    path = Path(_script("workdir").strip())
    # A service's scripts may run as another user than root, and must reach what is below.
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def private_host(name: str, parent: Path) -> Iterator[Host]:
    """Start an engine below ``parent``, stop it at the end and leave nothing running or mounted.

    Raises ``RuntimeError`` with the end of the daemon's log when it does not come up.
    """
    netns = f"dv{os.getpid()}-{name}"
    directory = parent / name
    try:
        docker_host = _script("start", netns, str(directory)).strip()
        yield Host(name=name, netns=netns, directory=directory, home=parent, docker_host=docker_host).anew()
    finally:
        # One that failed to start has removed it; one that was interrupted meanwhile has perhaps not.
        if directory.exists():
            _script("stop", netns, str(directory))


def _script(*args: str) -> str:
    done = subprocess.run(
        [str(PRIVATE_ENGINE), *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"},
        timeout=180,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{PRIVATE_ENGINE.name} {' '.join(args)} exited {done.returncode}\n{done.stderr}")
    return done.stdout
