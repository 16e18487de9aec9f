"""The state of a host and of two stores, as version 1.0.0 wrote it: see ``tests/fixtures/v1_0_0/README.md``."""

from __future__ import annotations

import os
import stat
import tarfile
from dataclasses import dataclass
from pathlib import Path

from support.images import FIXTURES

HOSTNAME = "web1"
_PACKED = FIXTURES / "v1_0_0" / "host.tar.gz"
_BASE = "/srv/fixture"
_WITH_PATHS = ("etc/vault.toml", "root/vault/history.jsonl", "root/services/notes/drunner/variables.sh")


@dataclass(frozen=True, kw_only=True)
class Version1:
    """The unpacked state.

    etc: the settings directory, DRUNNER_CONFIG_DIR.
    root: DRUNNER_ROOT.
    main: the directory of the store that the backups were written to.
    offsite: the directory of the store that they were copied to.
    identity: the file with the identity that decrypts the archives.
    signer: the line that `key signer` printed on the host.
    archives: the keys of the archives, the same in both stores, oldest first.
    """

    etc: Path
    root: Path
    main: Path
    offsite: Path
    identity: Path
    signer: str
    archives: list[str]


def unpack(directory: Path) -> Version1:
    """Unpack the state into an existing directory.

    Modification times are restored. Paths in the settings, in the history and in the service's variables are changed
    to ``directory``; the stores are left unchanged.
    """
    with tarfile.open(_PACKED) as tar:
        tar.extractall(directory, numeric_owner=True, filter="fully_trusted")
    for name in _WITH_PATHS:
        _change_paths(directory / name, str(directory))
    main = directory / "main"
    return Version1(
        etc=directory / "etc",
        root=directory / "root",
        main=main,
        offsite=directory / "offsite",
        identity=directory / "key.txt",
        signer=(directory / "signer.line").read_text().strip(),
        archives=sorted(str(path.relative_to(main)) for path in main.glob(f"{HOSTNAME}/*/*.tar.zst.age")),
    )


def _change_paths(path: Path, base: str) -> None:
    """Replace the original directory in a text file; mode and times stay the same."""
    before = path.stat()
    text = path.read_text().replace(_BASE, base)
    path.chmod(0o600)
    path.write_text(text)
    path.chmod(stat.S_IMODE(before.st_mode))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
