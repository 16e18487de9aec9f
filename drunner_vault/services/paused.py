"""A service that was paused for a backup is resumed, whatever happens to us.

Before the hook that pauses a service runs, `begin` does two things:

    ROOT/paused/NAME.json   says durably which hook resumes the service; it goes when the service has been resumed
    a guardian              a small process of its own session, which holds the reading end of a pipe; its end of file
                            without a word from us means that we died, and it runs that hook in our place

So only a power cut, or somebody who kills the guardian too, leaves a file in `paused`. Every command that works on a
service looks for one first: `owed`, then `resume`, under the service's lock. The guardian works under the same lock, so
the two never meet.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from drunner_vault.durable import make_directory, replace_file, storage_error, sync_directory
from drunner_vault.errors import NotFound, ServiceBusy, StorageError, VaultError
from drunner_vault.services.guardian import DONE
from drunner_vault.services.hooks import HookResult, run_hook
from drunner_vault.services.lock import service_lock
from drunner_vault.services.names import check_service_name

_FAREWELL = 5.0  # seconds that the guardian has to leave once it was told to; it needs milliseconds
_SETTLE = 1.0  # seconds that a hook which was hung up together with its command has to leave
_RETRY = 0.2  # seconds between its tries to lock a service that another command is working on
_ENGINE = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")


@dataclass(frozen=True)
class Journal:
    """One service that was paused and may not have been resumed.

    argv: the hook that resumes it, and its arguments. cwd: the directory to run it in. env: the few variables that say
    which Docker engine it is about; never the whole environment, which may hold secrets. success: the exit codes that
    mean all is well. owner: process id, its start in clock ticks since boot, and the id of that boot. failure: how
    resuming it failed, if it was tried.
    """

    service: str
    argv: tuple[str, ...]
    cwd: str
    env: tuple[tuple[str, str], ...]
    success: tuple[int, ...]
    owner: tuple[int, str, str]
    failure: str = ""


class Paused:
    """The promise, from `begin` on, that the service will be resumed; `done` says that it has been."""

    def __init__(self, path: Path, guardian: subprocess.Popen[bytes], pipe: int) -> None:
        self._path = path
        self._guardian = guardian
        self._pipe = pipe

    def done(self) -> None:
        """The service runs again: remove the journal, and let the guardian go. No process is left when this returns."""
        _forget(self._path)  # first: a guardian without a journal does nothing, should we die right now
        try:
            os.write(self._pipe, DONE)
        except BrokenPipeError:
            pass  # somebody ended the guardian before us
        finally:
            os.close(self._pipe)
        try:
            self._guardian.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            self._guardian.wait()


def begin(
    root: Path,
    name: str,
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    success: Sequence[int] = (0,),
) -> Paused:
    """Promise that `argv` will be run if this process ends, in any way, before `done`.

    Call it under the service's lock, before the hook that pauses the service. env: as hook_environment makes it; the
    guardian has all of it, the journal only what names the Docker engine. Raises StorageError if the journal cannot be
    written.
    """
    journal = Journal(
        service=check_service_name(name),
        argv=tuple(argv),
        cwd=str(cwd),
        env=tuple((key, env[key]) for key in _ENGINE if key in env),
        success=tuple(success),
        owner=_this_process(),
    )
    path = _path(root, name)
    _write_first(path, journal)
    try:
        guardian, pipe = _start_guardian(root, name, env)
    except BaseException:
        _forget(path)
        raise
    return Paused(path, guardian, pipe)


def owed(root: Path, name: str) -> Journal | None:
    """The journal that another command left for this service, or None. Call it under the service's lock.

    Whoever holds the lock is the only living command on the service, so every journal but its own was left by a dead
    one. Raises StorageError for a journal that cannot be read: something is paused, and we do not know what.
    """
    journal = _read(_path(root, name))
    return None if journal is None or journal.owner == _this_process() else journal


def unfinished(root: Path) -> list[Journal]:
    """All services whose command died before it resumed them; not those that a living command has paused.

    For status and list, which take no lock. Raises StorageError for a journal that cannot be read.
    """
    directory = root / "paused"
    paths = sorted(directory.glob("[!.]*.json")) if directory.is_dir() else []
    journals = [journal for path in paths if (journal := _read(path)) is not None]
    return [journal for journal in journals if not _alive(journal.owner)]


def resume(root: Path, journal: Journal, environ: Mapping[str, str]) -> HookResult:
    """Run the hook that a dead command owed its service. Call it under the service's lock.

    environ: as hook_environment makes it. The journal goes if the hook succeeded, or the service is no longer
    installed; else it stays, and notes the failure. Raises HookFailed if the script cannot be started.
    """
    path = _path(root, journal.service)
    if not Path(journal.argv[0]).exists():
        _forget(path)
        return HookResult(0)
    cwd = journal.cwd if Path(journal.cwd).is_dir() else "/"
    try:
        result = run_hook(journal.argv, cwd=Path(cwd), env={**environ, **dict(journal.env)}, terminal=False)
    except VaultError as cause:
        _write(path, replace(journal, failure=cause.message))
        raise
    if result.code in journal.success:
        _forget(path)
    else:
        _write(path, replace(journal, failure=f"exit status {result.code}: {result.output[-1000:]}"))
    return result


def guard(root: Path, name: str, owner: int) -> None:
    """What the guardian does when the end came too early: resume the service.

    owner: the process id of whoever paused the service. A journal of anybody else is none of our business.
    """
    time.sleep(_SETTLE)
    path = _path(root, name)
    while (journal := _read(path)) is not None and journal.owner[0] == owner and not journal.failure:
        try:
            with service_lock(root, name, "resume"):
                if _read(path) == journal:
                    resume(root, journal, os.environ)
        except ServiceBusy:  # by a command that came after, which resumes the service before anything else
            time.sleep(_RETRY)


def _start_guardian(root: Path, name: str, env: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    """The guardian, and our end of its pipe. It finds this package from the directory it is started in."""
    reading, writing = os.pipe()
    try:
        guardian = subprocess.Popen(
            [sys.executable, "-m", "drunner_vault.services.guardian", str(root.absolute()), name, str(os.getpid())],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
            env=dict(env),
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    return guardian, writing


def _path(root: Path, name: str) -> Path:
    return root / "paused" / f"{check_service_name(name)}.json"


def _write(path: Path, journal: Journal) -> None:
    replace_file(path, json.dumps(asdict(journal), indent=2).encode() + b"\n")


def _write_first(path: Path, journal: Journal) -> None:
    while True:
        try:
            make_directory(path.parent)
            return _write(path, journal)
        except NotFound:  # another service's journal was the last one, and took the directory with it
            continue
        except OSError as cause:
            raise storage_error("create", path.parent, cause) from cause


def _read(path: Path) -> Journal | None:
    """The journal, or None if there is none. Raises StorageError for one that cannot be understood."""
    try:
        values = json.loads(path.read_bytes())
        pid, start, boot = values["owner"]
        return Journal(
            service=check_service_name(values["service"]),
            argv=tuple(values["argv"]),
            cwd=values["cwd"],
            env=tuple((key, value) for key, value in values["env"]),
            success=tuple(values["success"]),
            owner=(pid, start, boot),
            failure=values["failure"],
        )
    except FileNotFoundError:
        return None
    except OSError as cause:
        raise storage_error("read", path, cause) from cause
    except (ValueError, KeyError, TypeError) as cause:
        raise StorageError(
            f"{path} is damaged, and the service it names may still be paused",
            f"resume {path.stem} by hand, then remove the file",
        ) from cause


def _forget(path: Path) -> None:
    """Remove a journal, durably, and its directory if it was the last."""
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except FileNotFoundError:  # the directory has gone with it
        return
    except OSError as cause:
        raise storage_error("remove", path, cause) from cause
    with contextlib.suppress(OSError):  # other services' journals
        path.parent.rmdir()


def _this_process() -> tuple[int, str, str]:
    return os.getpid(), _start_of(os.getpid()) or "", _boot()


def _alive(owner: tuple[int, str, str]) -> bool:
    """Whether that very process still runs, and not another that has its number now."""
    pid, start, boot = owner
    return boot == _boot() and _start_of(pid) == start


def _start_of(pid: int) -> str | None:
    """When the process started, in clock ticks since boot (proc(5), field 22 of stat); None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
