"""Our program as a person calls it, on services of a Docker engine of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.engines import Host, missing_parts, private_host, programs_directory
from support.keeper import build_keeper, volume_directory

from bench.datasets import DataSet
from bench.measure import Call
from bench.programs import KeyPair, said

_RESTORED = "bench-restored"
_ONE_VOLUME = 'VOLUMES=("/data")\nEXTRACONTAINERS=()\n'


@dataclass
class Ours:
    """drunner-vault. Each set of data stands where the files of a service's volume are; the same files that the others
    read."""

    host: Host
    key: KeyPair
    name: str = "drunner-vault"
    _services: dict[str, str] = field(default_factory=dict)

    def missing(self) -> str:
        """See Program."""
        return ""

    def version(self) -> str:
        """See Program."""
        return said(str(programs_directory() / "drunner-vault"), "--version").split()[-1]

    def prepare(self, data: DataSet, where: Path) -> None:
        """See Program. Installs a service for this data, once."""
        if data.name not in self._services:
            service = f"bench-{data.name}"
            image = build_keeper(self.host, "bench/keeper:1", volumes=_ONE_VOLUME)
            self.host.drunner("install", image, service)
            subprocess.run(["mount", "--bind", data.path, volume_directory(self.host, service)], check=True)
            self._services[data.name] = service

    def backup(self, data: DataSet, where: Path) -> Call:
        """See Program."""
        return self.call("backup", self._services[data.name], f"{where}/", "-r", self.key.recipient)

    def backup_to(self, data: DataSet, destination: str, env: Mapping[str, str]) -> Call:
        """A backup that goes to a store of this machine's loopback, or to a directory, from the machine's network."""
        words = ("backup", self._services[data.name], destination, "-r", self.key.recipient)
        return self.call(*words, env=env, in_netns=False)

    def verify(self, where: Path) -> Call:
        """See Program."""
        return self.call("verify", self.archive(where), "-i", self.key.identity)

    def restore(self, where: Path) -> Call:
        """See Program."""
        return self.call("restore", self.archive(where), _RESTORED, "-i", self.key.identity, "--any-sender")

    def restored(self) -> Path:
        """See Program."""
        return volume_directory(self.host, _RESTORED)

    def attic(self) -> Path:
        """See Program. The engine's own directory, which is a mount of its own."""
        return self.host.directory / "data"

    def discard(self) -> None:
        """See Program."""
        self.host.drunner("obliterate", _RESTORED, timeout=600)

    def archive(self, where: Path) -> Path:
        """The one archive in a directory."""
        (archive,) = where.glob("*.age")
        return archive

    def call(self, *words: str | Path, env: Mapping[str, str] | None = None, in_netns: bool = True) -> Call:
        """A command of ours, as a login on that engine's host would give it."""
        command = self.host.command("drunner-vault", *words, in_netns=in_netns)
        return Call(command, self.host.environment() | dict(env or {}), self.host.home)

    def release(self) -> None:
        """Take the data out of the volumes again."""
        for service in self._services.values():
            subprocess.run(["umount", volume_directory(self.host, service)], check=True)
        self._services.clear()


@contextmanager
def ours(directory: Path, key: KeyPair) -> Iterator[Ours]:
    """Our program with an engine below `directory`. Raises RuntimeError if there can be none."""
    if lacking := missing_parts():
        raise RuntimeError(lacking)
    with private_host("engine", directory) as host:
        program = Ours(host, key)
        try:
            yield program
        finally:
            program.release()
