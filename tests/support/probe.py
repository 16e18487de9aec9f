"""A service that does what its caller's environment says, and what a test looks at to see whether a host has changed.

The service writes each call down as those under ``tests/fixtures/services`` do. ``FAIL_AT=HOOK`` makes that hook fail;
``SLEEP_AT=HOOK`` makes it wait for a hundred seconds after it has written ``SERVICE_LOG.asleep``.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.engines import Completed, Host
from support.images import Content, build_image

SERVICERUNNER = r"""#!/bin/bash
MYDIR=$( dirname "$(readlink -f "$0")" )
source "$MYDIR/variables.sh"
source "$MYDIR/utils.sh"

COMMAND_LINE=$*
if [ -n "${SERVICE_LOG:-}" ]; then
   IN=other OUT=other SECRET=unset
   [ ! -t 0 ] || IN=tty
   [ ! -t 1 ] || OUT=tty
   [ ! -v PASS ] || SECRET=set
   printf "%s\t%s\tstdin=%s\tstdout=%s\t%s\tPASS=%s\n" "$SERVICENAME" "$COMMAND_LINE" "$IN" "$OUT" "$PWD" "$SECRET" \
      >>"$SERVICE_LOG"
fi

COMMAND=$1 ; shift
[ "${FAIL_AT:-}" != "$COMMAND" ] || die "told to fail at $COMMAND" 4
if [ "${SLEEP_AT:-}" = "$COMMAND" ]; then
   touch "$SERVICE_LOG.asleep"
   sleep 100
fi

case "$COMMAND" in
   install|updatestart|updateend|backupstart|backupend|restore|uninstall|obliterate) ;;
   help)      echo "the help of $SERVICENAME" ; exit "${HELP_CODE:-0}" ;;
   enter)     docker run --rm -i -t "${DOCKEROPTS[@]}" "$IMAGENAME" /bin/bash "$@" ;;
   keep)      docker run -d --name "$SERVICENAME" "${DOCKEROPTS[@]}" "$IMAGENAME" sleep 1000 ;;
   write)     docker run --rm "${DOCKEROPTS[@]}" "$IMAGENAME" bash -c 'echo "$0" >> /data/written' "$1" ;;
   read)      docker run --rm "${DOCKEROPTS[@]}" "$IMAGENAME" cat /data/written ;;
   arguments) printf '%s\0' "$@" ;;
   env)       env -0 ;;
   pwd)       pwd ;;
   cat)       cat ;;
   code)      exit "$1" ;;
   version)   echo one ;;
   *)         die "no command $COMMAND" ;;
esac
"""
SERVICECFG = 'VOLUMES=("/data")\nEXTRACONTAINERS=()\n'
SCRIPTS: Mapping[str, Content] = {"/drunner/servicerunner": SERVICERUNNER, "/drunner/servicecfg.sh": SERVICECFG}


def build_probe(
    host: Host, tag: str = "test/probe:1", *, version: str = "one", cfg: str = SERVICECFG, user: str | None = "22022"
) -> str:
    """Build the service; ``version`` is what its command of that name prints. Returns the image's name."""
    files = {
        "/drunner/servicerunner": SERVICERUNNER.replace("echo one", f"echo {version}"),
        "/drunner/servicecfg.sh": cfg,
    }
    return build_image(host, tag, files, user=user)


@dataclass(frozen=True)
class Snapshot:
    """All that a command may change on a host. files: of the root, the launchers and the volumes."""

    containers: frozenset[str]
    volumes: frozenset[str]
    images: frozenset[str]
    files: frozenset[str]


def snapshot(host: Host) -> Snapshot:
    """The host as it is now."""
    ps = host.docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}}").stdout
    images = host.docker(
        "images", "-a", "--no-trunc", "--digests", "--format", "{{.ID}} {{.Repository}} {{.Tag}}"
    ).stdout
    names = sorted(host.volumes())
    volumes = json.loads(host.docker("volume", "inspect", *names).stdout) if names else []
    places = [host.root, host.bin_dir, *(Path(volume["Mountpoint"]) for volume in volumes)]
    return Snapshot(
        frozenset(ps.splitlines()),
        frozenset(f"{volume['Name']} {volume['CreatedAt']} {volume['Labels']}" for volume in volumes),
        frozenset(images.splitlines()),
        frozenset(line for place in places for line in _tree(place)),
    )


def _tree(top: Path) -> list[str]:
    if not top.exists():
        return []
    return [_line(path) for path in (top, *top.rglob("*"))]


def _line(path: Path) -> str:
    status = path.lstat()
    content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
    return f"{path} {status.st_mode:o} {status.st_uid} {status.st_gid} {hashlib.sha256(content).hexdigest()[:12]}"


def refused(host: Host, *args: str, code: int = 1, env: Mapping[str, str] | None = None) -> str:
    """As `failed`; and the host must be as it was before."""
    before = snapshot(host)
    said = failed(host, *args, code=code, env=env)
    assert snapshot(host) == before
    return said


def failed(host: Host, *args: str, code: int = 1, env: Mapping[str, str] | None = None) -> str:
    """Run ``drunner ARGS``, which must fail as a command should; returns its two lines: what is wrong, what to do.

    It must say so in one line of error and one of hint, and print nothing else. Where there was nothing to do, there
    may be no hint.
    """
    done = host.drunner(*args, check=False, env=env)
    assert (done.returncode, done.stdout) == (code, ""), done
    lines = [line for line in done.stderr.splitlines() if not line.startswith("notice: ")]
    labels = [line.partition(": ")[0] for line in lines]
    assert labels in ([["nothing to do"], ["nothing to do", "hint"]] if code == 3 else [["error", "hint"]]), done.stderr
    assert all(line.partition(": ")[2].strip() for line in lines), done.stderr
    assert "internal error" not in done.stderr
    return "\n".join(lines)


def document(done: Completed) -> dict[str, object]:
    """What a command printed with ``--json``: exactly one document, and nothing else."""
    value = json.loads(done.stdout)
    assert isinstance(value, (dict, list)), value
    return value  # type: ignore[return-value]
