"""What every program that is measured is asked to do, and the programs that are not ours."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Protocol

from bench.datasets import DataSet
from bench.measure import Call

_PASSWORD = "a password of no account"


class Program(Protocol):
    """A program that backs directories up. where: a directory for what it writes, the same for all calls."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def missing(self) -> str:
        """What it lacks here; empty if nothing."""

    def version(self) -> str:
        """Of it, and of what it calls."""

    def prepare(self, data: DataSet, where: Path) -> None:
        """All that comes before the first backup, and is not measured."""

    def backup(self, data: DataSet, where: Path) -> Call:
        """A first backup of this data."""

    def verify(self, where: Path) -> Call:
        """Read all of the backup, and judge it."""

    def restore(self, where: Path) -> Call:
        """Bring all of it back, into a place that is empty."""

    def restored(self) -> Path:
        """The directory where it then is."""

    def attic(self) -> Path:
        """A directory to which that one can be renamed, and which is removed at the end."""

    def discard(self) -> None:
        """Remove what was brought back."""


@dataclass(frozen=True)
class KeyPair:
    """Of age. identity: the file with the secret half. recipient: the public one."""

    identity: Path
    recipient: str


def make_key(directory: Path) -> KeyPair:
    """A new pair, made by age itself, or the one that is there."""
    identity = directory / "key.txt"
    if not identity.exists():
        subprocess.run(["age-keygen", "-o", identity], capture_output=True, check=True)
    recipient = subprocess.run(["age-keygen", "-y", identity], capture_output=True, text=True, check=True).stdout
    return KeyPair(identity, recipient.strip())


@dataclass(frozen=True)
class _Peer:
    """What the peers have in common. into: where they restore to."""

    into: Path

    def _absent(self, *tools: str) -> str:
        return ", ".join(tool for tool in tools if shutil.which(tool) is None)

    def restored(self) -> Path:
        """See Program."""
        return self.into

    def attic(self) -> Path:
        """See Program."""
        return self.into.parent

    def discard(self) -> None:
        """See Program."""
        remove(self.into)

    def _empty(self) -> Path:
        self.discard()
        self.into.mkdir()
        return self.into


@dataclass(frozen=True)
class Plain(_Peer):
    """The line that people write themselves: tar, zstd on all cores, age."""

    key: KeyPair
    name: str = "tar | zstd | age"

    def missing(self) -> str:
        """See Program."""
        return self._absent("tar", "zstd", "age", "age-keygen")

    def version(self) -> str:
        """See Program."""
        return (
            f"{said('tar', '--version')}, zstd {said('zstd', '-q', '-V').split()[-1]}, age {said('age', '--version')}"
        )

    def prepare(self, data: DataSet, where: Path) -> None:
        """See Program. There is nothing to do."""

    def backup(self, data: DataSet, where: Path) -> Call:
        """See Program."""
        tar = f"tar --xattrs --acls --sparse -cf - -C {quote(str(data.path))} ."
        return self._line(f"{tar} | zstd -q -3 -T0 | age -r {self.key.recipient} > {self._file(where)}")

    def verify(self, where: Path) -> Call:
        """See Program. It sees whether the bytes are those that were written, and form a tar."""
        return self._line(f"{self._opened(where)} | tar -tf -")

    def restore(self, where: Path) -> Call:
        """See Program."""
        return self._line(f"{self._opened(where)} | tar -C {quote(str(self._empty()))} -xpf -")

    def _opened(self, where: Path) -> str:
        return f"age -d -i {quote(str(self.key.identity))} {self._file(where)} | zstd -q -dc"

    def _file(self, where: Path) -> str:
        return quote(str(where / "plain.tar.zst.age"))

    def _line(self, line: str) -> Call:
        return Call(["bash", "-o", "pipefail", "-c", line])


@dataclass(frozen=True)
class Restic(_Peer):
    """restic, into a repository on the same disk, with its own defaults, and no cache beside it."""

    name: str = "restic"

    def missing(self) -> str:
        """See Program."""
        return self._absent("restic")

    def version(self) -> str:
        """See Program."""
        return " ".join(said("restic", "version").split()[1:2])

    def prepare(self, data: DataSet, where: Path) -> None:
        """See Program."""
        (where / "password").write_text(_PASSWORD)
        subprocess.run(self._command(where, "init"), capture_output=True, check=True)

    def backup(self, data: DataSet, where: Path) -> Call:
        """See Program."""
        return Call(self._command(where, "backup", "."), cwd=data.path)

    def verify(self, where: Path) -> Call:
        """See Program."""
        return Call(self._command(where, "check", "--read-data"))

    def restore(self, where: Path) -> Call:
        """See Program. Holes become holes where restic knows how to."""
        sparse = ["--sparse"] if "--sparse" in said_all("restic", "restore", "--help") else []
        return Call(self._command(where, "restore", "latest", "--target", str(self._empty()), *sparse))

    def _command(self, where: Path, *words: str) -> list[str]:
        repository = ["-r", str(where / "repository"), "--password-file", str(where / "password")]
        return ["restic", "--quiet", "--no-cache", *repository, *words]


@dataclass(frozen=True)
class Borg(_Peer):
    """borg, into a repository on the same disk."""

    name: str = "borg"

    def missing(self) -> str:
        """See Program."""
        return self._absent("borg")

    def version(self) -> str:
        """See Program."""
        return said("borg", "--version").removeprefix("borg ")

    def prepare(self, data: DataSet, where: Path) -> None:
        """See Program."""
        call = self._call(where, "init", "-e", "repokey-blake2", self._repository(where))
        subprocess.run(call.command, env=os.environ | dict(call.env), capture_output=True, check=True)

    def backup(self, data: DataSet, where: Path) -> Call:
        """See Program."""
        return self._call(where, "create", "--compression", "zstd,3", self._archive(where), ".", cwd=data.path)

    def verify(self, where: Path) -> Call:
        """See Program."""
        return self._call(where, "check", "--verify-data", self._repository(where))

    def restore(self, where: Path) -> Call:
        """See Program."""
        return self._call(where, "extract", "--sparse", self._archive(where), cwd=self._empty())

    def _repository(self, where: Path) -> str:
        return str(where / "repository")

    def _archive(self, where: Path) -> str:
        return f"{self._repository(where)}::first"

    def _call(self, where: Path, *words: str, cwd: Path | None = None) -> Call:
        env = {"BORG_PASSPHRASE": _PASSWORD, "BORG_BASE_DIR": str(self.into.parent / "borg-home")}
        return Call(["borg", *words], env, cwd)


def remove(directory: Path) -> None:
    """Remove a directory with all that is in it, if it is there."""
    subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], check=True)


def written(where: Path) -> int:
    """Bytes of all files below a directory."""
    return sum(path.stat().st_size for path in where.rglob("*") if path.is_file())


def said(*command: str) -> str:
    """The first line that a command prints."""
    return (said_all(*command).splitlines() or [""])[0]


@functools.cache
def said_all(*command: str) -> str:
    """All that a command prints; nothing if it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout + done.stderr


def peers(into: Path, key: KeyPair) -> Sequence[Program]:
    """All programs that are not ours."""
    return Plain(into, key), Restic(into), Borg(into)
