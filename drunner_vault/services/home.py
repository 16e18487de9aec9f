"""The directory of an installed service: `ROOT/services/NAME`.

    imagename.sh       the image, as the person named it
    service.json       what was installed, exactly; absent where dRunner of 2016 installed the service
    environment.sh     what the service kept by save_environment; only if it did
    drunner/           the files of the image's /drunner, and variables.sh and utils.sh beside them
    temp/              SERVICETEMPDIR; open to every user, inside a directory that is not

A new version is staged in a hidden directory beside it and then takes its place in one step, so that a crash leaves the
old files or the new ones. Hidden directories that a crash left behind are removed by `sweep`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from drunner_vault.durable import replace_file, storage_error, sync_directory
from drunner_vault.errors import BadImage, ServiceError, ServiceExists, UnknownService, VaultError
from drunner_vault.services.checks import SERVICECFG, SERVICERUNNER
from drunner_vault.services.dialect import Dialect, detect
from drunner_vault.services.names import check_service_name
from drunner_vault.services.servicecfg import ServiceConfig, parse_servicecfg
from drunner_vault.services.shell import LiteralError, parse_assignments, render_assignments
from drunner_vault.services.variables import render_imagename, utils_sh

_RENAME_EXCHANGE = 2  # rename(2)
_AT_FDCWD = -100
_TRIES = 100  # at a directory that others keep removing
_ENVIRONMENT = "environment.sh"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class InstallRecord:
    """What was installed, for later backups and updates.

    image: the reference as given. image_id: the engine's id of it (`sha256:…`). uid: the numeric user that the image
    runs as. installed: RFC 3339 in UTC. tool: this program's version.
    """

    image: str
    image_id: str
    uid: int
    installed: str
    tool: str


@dataclass(frozen=True)
class ServiceHome:
    """One service's directory, whether it exists or not. root: where services are kept, `/opt/drunner`."""

    root: Path
    name: str

    def __post_init__(self) -> None:
        check_service_name(self.name)

    @property
    def path(self) -> Path:
        return self.root / "services" / self.name

    @property
    def scripts(self) -> Path:
        return self.path / "drunner"

    @property
    def servicerunner(self) -> Path:
        return self.scripts / SERVICERUNNER

    @property
    def temp_dir(self) -> Path:
        return self.path / "temp"

    def exists(self) -> bool:
        return self.path.is_dir()

    def image(self) -> str:
        """The image reference in imagename.sh. Raises UnknownService or ServiceError."""
        try:
            value = parse_assignments(self._read("imagename.sh")).get("IMAGENAME")
        except LiteralError as cause:
            raise self._broken(f"imagename.sh, line {cause.line}: {cause.reason}: {cause.text}") from cause
        if not isinstance(value, str) or not value:
            raise self._broken("imagename.sh names no image")
        return value

    def record(self) -> InstallRecord | None:
        """What service.json says; None for a service that says nothing, or nothing that can be read."""
        try:
            values = json.loads((self.path / "service.json").read_bytes())
            return InstallRecord(
                image=str(values["image"]),
                image_id=str(values["image_id"]),
                uid=int(values["uid"]),
                installed=str(values["installed"]),
                tool=str(values["tool"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def config(self) -> ServiceConfig:
        """The settings in servicecfg.sh. Raises UnknownService, ServiceError or BadImage."""
        return parse_servicecfg(self._read(f"drunner/{SERVICECFG}"))

    def dialect(self) -> Dialect:
        """How the service's hooks are called. Raises as config does."""
        return detect(self.config(), self._read(f"drunner/{SERVICERUNNER}"))

    def environment(self) -> dict[str, str]:
        """What the service kept by save_environment. Raises ServiceError for a line that is no literal assignment."""
        if not (self.path / _ENVIRONMENT).exists():
            return {}
        try:
            values = parse_assignments(self._read(_ENVIRONMENT))
        except LiteralError as cause:
            raise self._broken(f"{_ENVIRONMENT}, line {cause.line}: {cause.reason}: {cause.text}") from cause
        return {name: value for name, value in values.items() if isinstance(value, str)}

    def keep_environment(self, values: Mapping[str, str]) -> None:
        """Have the service find these variables, as if it had kept them itself. Raises StorageError, ServiceError."""
        if not all(_VARIABLE.fullmatch(name) for name in values):
            raise self._broken(f"{_ENVIRONMENT} would hold what is no name of a variable")
        text = "".join(f"export {render_assignments({name: value})}" for name, value in values.items())
        replace_file(self.path / _ENVIRONMENT, _encode(text), 0o600)

    def files(self) -> dict[str, bytes]:
        """The content of all regular files below drunner/, by path relative to it."""
        found = (path for path in sorted(self.scripts.rglob("*")) if path.is_file() and not path.is_symlink())
        return {path.relative_to(self.scripts).as_posix(): path.read_bytes() for path in found}

    def validate(self) -> list[str]:
        """What is wrong with the installed files, one sentence each; empty when all is well."""
        if not self.exists():
            return [f"{self.path} does not exist"]
        names = (
            "imagename.sh",
            *(f"drunner/{name}" for name in (SERVICERUNNER, SERVICECFG, "variables.sh", "utils.sh")),
        )
        problems = [f"{self.path / name} is missing" for name in names if not (self.path / name).is_file()]
        if self.servicerunner.is_file() and not os.access(self.servicerunner, os.X_OK):
            problems.append(f"{self.servicerunner} is not executable")
        if not problems:
            for read in (self.image, self.config):
                try:
                    read()
                except VaultError as problem:
                    problems.append(problem.message)
        return problems

    def stage(self, files: Mapping[str, bytes], *, variables: str, record: InstallRecord) -> Path:
        """Write a whole service directory under a hidden name beside this one, durably, and return its path.

        files: content by path relative to the image's /drunner, where variables.sh and utils.sh are replaced by
        ours. variables: the text of variables.sh. What the service kept by save_environment is carried over. Raises
        BadImage for a path that leaves the directory, StorageError for what the disk refuses.
        """
        scripts = {_safe_path(name): data for name, data in files.items()}
        scripts[PurePosixPath("variables.sh")] = _encode(variables)
        scripts[PurePosixPath("utils.sh")] = _encode(utils_sh())
        staged = self._hidden()
        try:
            _make_hidden(staged)
            self._fill(staged, scripts, record)
        except BaseException as cause:
            shutil.rmtree(staged, ignore_errors=True)
            if isinstance(cause, OSError):
                raise storage_error("write the files of the service to", staged, cause) from cause
            raise
        return staged

    def swap_in(self, staged: Path) -> Path | None:
        """Put a staged directory in this one's place, in one step; returns where the old one is now, if there was one.

        The old one is for put_back, or for discard.
        """
        try:
            if not self.exists():
                staged.rename(self.path)
                old = None
            else:
                old = _exchange(staged, self.path)
            sync_directory(self.path.parent)
        except OSError as cause:
            raise storage_error("put in place", self.path, cause) from cause
        return old

    def put_back(self, old: Path | None) -> None:
        """Undo swap_in: the old directory takes its place again, or there is none again."""
        if old is None:
            self.remove()
        elif failed := self.swap_in(old):
            self.discard(failed)

    def discard(self, old: Path | None) -> None:
        """Remove a directory that stage or swap_in returned and that is no longer wanted."""
        if old is not None:
            _remove_tree(old)

    def remove(self) -> None:
        """Remove the directory; at no moment is half of it there under its name."""
        if not self.exists():
            return
        hidden = self._hidden()
        try:
            self.path.rename(hidden)
            sync_directory(self.path.parent)
        except OSError as cause:
            raise storage_error("remove", self.path, cause) from cause
        _remove_tree(hidden)

    def sweep(self) -> None:
        """Remove the hidden directories that a crash left behind. Only under the service's lock."""
        pattern = re.compile(re.escape(f".{self.name}.") + "[0-9a-f]{12}")
        if self.path.parent.is_dir():
            for path in self.path.parent.iterdir():
                if pattern.fullmatch(path.name):
                    _remove_tree(path)

    def require(self) -> None:
        """Raises UnknownService unless the service is installed."""
        if not self.exists():
            raise UnknownService(f"there is no service named {self.name}", "see which there are: drunner list")

    def require_absent(self) -> None:
        """Raises ServiceExists if the service is installed."""
        if self.path.is_symlink() or self.path.exists():
            raise ServiceExists(
                f"a service named {self.name} is installed already",
                f"choose another name, or bring it up to date: drunner update {self.name}",
            )

    def _hidden(self) -> Path:
        return self.path.parent / f".{self.name}.{secrets.token_hex(6)}"

    def _read(self, name: str) -> bytes:
        self.require()
        try:
            return (self.path / name).read_bytes()
        except OSError as cause:
            raise self._broken(f"cannot read {name}: {cause.strerror}") from cause

    def _broken(self, reason: str) -> ServiceError:
        return ServiceError(
            f"the installation of {self.name} is damaged: {reason}", f"repair it: drunner recover {self.name} IMAGE"
        )

    def _fill(self, staged: Path, scripts: Mapping[PurePosixPath, bytes], record: InstallRecord) -> None:
        for name, data in scripts.items():
            target = staged / "drunner" / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(target, data, 0o500)
        _write(staged / "imagename.sh", _encode(render_imagename(record.image)), 0o600)
        _write(staged / "service.json", json.dumps(asdict(record), indent=2).encode() + b"\n", 0o600)
        with contextlib.suppress(FileNotFoundError):
            _write(staged / _ENVIRONMENT, (self.path / _ENVIRONMENT).read_bytes(), 0o600)
        (staged / "temp").mkdir()
        (staged / "temp").chmod(0o777)
        for directory in (path for path in (staged, *staged.rglob("*")) if path.is_dir()):
            sync_directory(directory)


def installed(root: Path) -> list[ServiceHome]:
    """All services below `root`, by name."""
    directory = root / "services"
    names = sorted(path.name for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []
    homes = []
    for name in names:
        with contextlib.suppress(VaultError):  # a name that no service can have, as our own hidden ones
            homes.append(ServiceHome(root, name))
    return homes


def _safe_path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise BadImage(f"the image's /drunner holds a file of the impossible name {name!r}", "rebuild the image")
    return path


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _make_hidden(path: Path) -> None:
    """A directory in one that other commands remove when they leave it empty."""
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
            return
    path.mkdir(mode=0o700)


def _write(path: Path, data: bytes, mode: int) -> None:
    """A new file in a directory that nobody sees yet, on the disk when this returns."""
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fchmod(stream.fileno(), mode)
        os.fsync(stream.fileno())


def _remove_tree(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except OSError as cause:
        raise storage_error("remove", path, cause) from cause


def _exchange(staged: Path, current: Path) -> Path:
    """Swap two directories; returns where the one that was `current` is now, which is `staged`.

    In one step, by renameat2(2), where the C library and the file system know it; else in three.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        if rename(_AT_FDCWD, os.fsencode(staged), _AT_FDCWD, os.fsencode(current), _RENAME_EXCHANGE) == 0:
            return staged
        if (code := ctypes.get_errno()) not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code))
    aside = current.parent / f".{current.name}.{secrets.token_hex(6)}"
    current.rename(aside)
    staged.rename(current)
    aside.rename(staged)
    return staged
