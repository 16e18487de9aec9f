"""The command that every service has on PATH: a two-line script of its name, which calls `drunner servicecmd`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from drunner_vault.durable import new_file, replace_file, storage_error
from drunner_vault.errors import AlreadyExists, ServiceExists

# Looked through besides PATH, which under cron or sudo is often shorter than a person's.
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def launcher_text(name: str) -> str:
    """The whole launcher of a service."""
    return f'#!/bin/bash\ndrunner servicecmd {name} "$@"\n'


def check_launcher_free(bin_dir: Path, name: str, search_path: str | None = None) -> None:
    """Raises ServiceExists if the service cannot have its launcher: another file or another command has the name.

    A launcher of that very service is no obstacle. search_path: directories as in PATH, which it is unless given.
    """
    launcher = bin_dir / name
    if (launcher.is_symlink() or launcher.exists()) and not is_our_launcher(bin_dir, name):
        raise ServiceExists(
            f"{launcher} exists already and is not the launcher of {name}", "choose another name, or move it away first"
        )
    wanted = os.environ.get("PATH", "") if search_path is None else search_path
    for directory in (*wanted.split(os.pathsep), *(_SYSTEM_PATH if search_path is None else ())):
        if directory and not _same(Path(directory), bin_dir) and (other := shutil.which(name, path=directory)):
            raise ServiceExists(f"a command named {name} is on this host already: {other}", "choose another name")


def write_launcher(bin_dir: Path, name: str, search_path: str | None = None) -> Path:
    """Put the launcher in place, executable for everybody, and return its path.

    Raises ServiceExists as check_launcher_free does, StorageError for what the disk refuses.
    """
    check_launcher_free(bin_dir, name, search_path)
    path = bin_dir / name
    data = launcher_text(name).encode()
    try:
        bin_dir.mkdir(parents=True, exist_ok=True)
        if is_our_launcher(bin_dir, name):
            replace_file(path, data, 0o755)
        else:
            with new_file(path, 0o755) as stream:
                stream.write(data)
        path.chmod(0o755)  # whatever the umask
    except AlreadyExists as cause:
        raise ServiceExists(f"{path} exists already", "choose another name, or move it away first") from cause
    except OSError as cause:
        raise storage_error("write", path, cause) from cause
    return path


def remove_launcher(bin_dir: Path, name: str) -> bool:
    """Remove the service's launcher; False if there is none, or the file of that name is not it."""
    if not is_our_launcher(bin_dir, name):
        return False
    try:
        (bin_dir / name).unlink(missing_ok=True)
    except OSError as cause:
        raise storage_error("remove", bin_dir / name, cause) from cause
    return True


def is_our_launcher(bin_dir: Path, name: str) -> bool:
    """Whether the file of that name is this service's launcher, as we or dRunner of 2016 wrote it."""
    path = bin_dir / name
    if path.is_symlink() or not path.is_file():
        return False
    try:
        lines = path.read_bytes()[:1024].split(b"\n")
    except OSError:  # what cannot be read is not known to be ours
        return False
    return [line.strip() for line in lines if line.strip()] == launcher_text(name).encode().splitlines()


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
