"""A service that does as the test says: it keeps two volumes, writes down each call of its hooks, and fails on demand.

In the caller's environment: KEEPER_LOG, a file that gets a line for each call; KEEPER_FAIL, hooks that fail;
KEEPER_WAIT, hooks that wait until the file KEEPER_LOG.go is there.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.engines import Completed, Host
from support.images import build_image
from support.trees import tar_of

IMAGE = "test/keeper:1"
_SERVICERUNNER = """\
#!/bin/bash
MYDIR=$(dirname "$(readlink -f "$0")")
source "$MYDIR/variables.sh"
source "$MYDIR/utils.sh"
say() { [ -z "${KEEPER_LOG-}" ] || echo "$SERVICENAME $*" >>"$KEEPER_LOG"; }
say "$@"
if elementIn "$1" ${KEEPER_WAIT-}; then until [ -e "$KEEPER_LOG.go" ]; do sleep 0.02; done; fi
if elementIn "$1" ${KEEPER_FAIL-}; then die "The $1 hook was told to fail."; fi
case "$1" in
    install | uninstall | obliterate | backupend | help | updatestart | updateend) ;;
    backupstart) echo "of $SERVICENAME" >"$2/note"; chmod 640 "$2/note" ;;
    restore) say "note $(cat "$2/note" 2>&1)" ;;
    selftest) docker run --rm "${DOCKEROPTS[@]}" "$IMAGENAME" test -e /data/install_date -a -e /more/install_date ;;
    *) die "There is no command $1." ;;
esac
"""
_SERVICECFG = 'VOLUMES=("/data" "/more")\nEXTRACONTAINERS=()\n'


def build_keeper(host: Host, tag: str = IMAGE, *, volumes: str = _SERVICECFG, note: str = "") -> str:
    """The service's image on ``host``. Another ``note`` makes another image."""
    files = {"/drunner/servicerunner": _SERVICERUNNER, "/drunner/servicecfg.sh": volumes, "/note": note}
    return build_image(host, tag, files)


def install_keeper(host: Host, name: str = "keeper") -> str:
    """Build the image and install the service."""
    host.drunner("install", build_keeper(host), name)
    return name


def volume_name(service: str, which: str = "data") -> str:
    """The name of one of the service's two volumes, ``data`` or ``more``."""
    return f"drunner-{service}-{which}"


def volume_directory(host: Host, service: str, which: str = "data") -> Path:
    """Where the files of a volume are."""
    return Path(host.docker("volume", "inspect", "-f", "{{.Mountpoint}}", volume_name(service, which)).stdout.strip())


@dataclass(frozen=True)
class Key:
    """A key pair in files, made by age itself."""

    identity: Path
    recipient: str


def make_key(directory: Path, name: str = "key.txt") -> Key:
    """A new identity in ``directory``."""
    path = directory / name
    said = subprocess.run(["age-keygen", "-o", path], capture_output=True, text=True, check=True)
    return Key(path, said.stderr.split()[-1])


def backup(host: Host, key: Key, directory: Path, *options: str | Path, service: str = "keeper") -> Path:
    """Back the service up into ``directory``; returns the one new file there, which stock tools can list."""
    before = set(directory.iterdir())
    host.drunner("backup", service, f"{directory}/", "-r", key.recipient, *options)
    (archive,) = set(directory.iterdir()) - before
    line = f"age -d -i '{key.identity}' '{archive}' | zstd -d | tar -t"
    listed = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=True).stdout
    assert "index/root.json" in listed.splitlines()
    return archive


def open_by_hand(archive: Path, key: Key | None, into: Path, *options: str) -> None:
    """Unpack an archive with the line that always works, and perhaps further options for tar."""
    into.mkdir(parents=True)
    decrypt = f"age -d -i '{key.identity}' '{archive}'" if key else f"cat '{archive}'"
    line = f"{decrypt} | zstd -d | tar -C '{into}' --xattrs --xattrs-include='*' --acls --numeric-owner -xpf -"
    line += "".join(f" '{option}'" for option in options)
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert complaints(done.stderr) == [], done.stderr
    assert done.returncode == 0


_REMARKS = ("unknown extended header keyword 'hdrcharset'", "implausibly old time stamp", "in the future")


def complaints(said: str) -> list[str]:
    """What tar said, but for its remarks on odd times, and on names that are no text: it ignores `hdrcharset`."""
    return [line for line in said.splitlines() if not any(remark in line for remark in _REMARKS)]


def restore(host: Host, archive: str | Path, *arguments: str | Path, **options: object) -> Completed:
    """``drunner restore ARCHIVE ARGUMENTS``, whoever has made the archive; options as for ``Host.run``."""
    return host.drunner("restore", archive, "--any-sender", *arguments, **options)


def snapshot(host: Host) -> dict[str, object]:
    """All there is on a host that a command could change, but what is remembered of each backup."""
    images = host.docker("images", "--all", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout
    volumes = sorted(host.volumes())
    return {
        "containers": sorted(host.containers()),
        "volumes": {name: _digest(_mountpoint(host, name)) for name in volumes},
        "images": sorted(images.splitlines()),
        "root": {name: state for name, state in _files(host.root).items() if Path(name).parts[:1] != ("vault",)},
        "bin": _files(host.bin_dir),
    }


def _mountpoint(host: Host, volume: str) -> Path:
    return Path(host.docker("volume", "inspect", "-f", "{{.Mountpoint}}", volume).stdout.strip())


def without_empty_directories(taken: dict[str, object]) -> dict[str, object]:
    """A snapshot in which directories that hold nothing do not count: a killed command may leave one."""
    root = taken["root"]
    assert isinstance(root, dict)
    names = [name for name, state in root.items() if not state.startswith("directory")]
    return taken | {"root": {name: root[name] for name in names}}


def _digest(directory: Path) -> str:
    """Of a volume: every name, attribute and byte, and the names of what lies beside it in the engine's directory."""
    beside = sorted(path.name for path in directory.parent.iterdir())
    return hashlib.sha256("\n".join([*beside, *tar_of(directory)]).encode()).hexdigest()


def _files(directory: Path) -> dict[str, str]:
    if not directory.exists():
        return {}
    found = {str(path.relative_to(directory)): _state(path) for path in sorted(directory.rglob("*"))}
    return {".": "directory", **found}


def _state(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    if path.is_dir():
        return f"directory {path.stat().st_mode:o}"
    return f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def assert_refused(done: Completed, *words: str, code: int = 1, hint: bool = True) -> None:
    """One error line with these words, what to do next, and nothing on stdout."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, done.stdout, len(errors)) == (code, "", 1), f"{done.stdout}\n{done.stderr}"
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr
    assert bool(re.search("^hint: .", done.stderr, re.MULTILINE)) or not hint, done.stderr
    for word in words:
        assert word in errors[0], done.stderr


def calls(log: Path, service: str = "keeper") -> list[str]:
    """The hooks of ``service`` that were called, in order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1] for line in lines if line.split()[0] == service and line.split()[1] != "note"]


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Until ``condition`` holds; fails if that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def start(
    host: Host, *argv: str | Path, env: dict[str, str] | None = None, **options: object
) -> subprocess.Popen[bytes]:
    """A ``drunner`` command that runs beside the test. Its process id is that of the program itself."""
    environment = host.environment() | (env or {})
    streams: dict[str, object] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        host.command("drunner", *argv),
        env=environment,
        cwd=host.home,
        **(streams | options),  # type: ignore[call-overload]
    )


def manifest_of(directory: Path) -> dict[str, object]:
    """The manifest of an archive that was opened by hand."""
    document = json.loads((directory / "manifest.json").read_bytes())
    assert isinstance(document, dict)
    return document


def processes_with(text: str) -> Sequence[int]:
    """Ids of the processes whose command line holds ``text``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (entry / "cmdline").read_bytes().replace(b"\0", b" "):
                found.append(int(entry.name))
        except OSError:  # it has ended meanwhile
            continue
    return found
