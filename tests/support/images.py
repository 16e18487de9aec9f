"""Images made from what this machine has: static busybox and bash, no network, no download.

A base is imported once for each engine; every image is a small layer on it.
"""

from __future__ import annotations

import io
import posixpath
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.engines import CHECKOUT, CommandFailedError, Host

FIXTURES = CHECKOUT / "tests" / "fixtures"
BASE = "drunner-vault-test/base:1"
_BUSYBOX = Path("/bin/busybox")
_BASH = Path("/bin/bash-static")
_engines_with_base: set[str] = set()

Content = str | bytes


def build_image(
    host: Host,
    tag: str,
    files: Mapping[str, Content],
    *,
    user: str | None = "22022",
    instructions: Sequence[str] = (),
    modes: Mapping[str, int] | None = None,
) -> str:
    """Build ``tag`` on ``host``'s engine and return it.

    ``files`` maps absolute paths to contents. A file starting with ``#!`` is executable; ``modes`` says otherwise.
    They belong to root. ``user`` becomes USER; None leaves the image as root. ``instructions`` are Dockerfile lines
    that come before USER, so they run as root: ``RUN mkdir -p /data && chown 22022 /data`` or ``VOLUME /data``.
    """
    ensure_base(host)
    lines = [f"FROM {BASE}", "COPY rootfs/ /", *instructions]
    if user is not None:
        lines.append(f"USER {user}")
    context = _context("\n".join(lines) + "\n", files, modes or {})
    _docker_with_bytes(host, ("build", "--quiet", "--tag", tag, "-"), context)
    return tag


def build_service(
    host: Host, tag: str, directory: Path, *, user: str = "22022", instructions: Sequence[str] = ()
) -> str:
    """Build an image whose ``/drunner`` is ``directory/drunner``: one of ``tests/fixtures/services``, say."""
    files = {f"/drunner/{path.name}": path.read_bytes() for path in sorted((directory / "drunner").iterdir())}
    return build_image(host, tag, files, user=user, instructions=instructions)


def ensure_base(host: Host) -> str:
    """Import the base image if ``host``'s engine has not got it yet; return its name."""
    if host.docker_host not in _engines_with_base:
        _docker_with_bytes(host, ("import", "--change", 'CMD ["/bin/bash"]', "-", BASE), _base_rootfs())
        _engines_with_base.add(host.docker_host)
    return BASE


def _docker_with_bytes(host: Host, args: Sequence[str], data: bytes) -> None:
    command = ["docker", *args]
    done = subprocess.run(command, input=data, capture_output=True, env=_build_environment(host), check=False)
    if done.returncode:
        said = subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())
        raise CommandFailedError(command, said)


def _build_environment(host: Host) -> dict[str, str]:
    # Without buildx, newer clients refuse BuildKit; with it, either would do.
    return host.environment() | {"DOCKER_BUILDKIT": "0"}


def _context(dockerfile: str, files: Mapping[str, Content], modes: Mapping[str, int]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add_file(tar, "Dockerfile", dockerfile.encode(), 0o644)
        _add_directories(tar, ["rootfs", *(posixpath.dirname(f"rootfs{path}") for path in files)])
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            _add_file(tar, f"rootfs{path}", data, modes.get(path, 0o755 if data.startswith(b"#!") else 0o644))
    return buffer.getvalue()


def _base_rootfs() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add_directories(tar, ["bin", "dev", "etc", "home/service", "proc", "sys", "var"])
        _add_directory(tar, "tmp", 0o1777)
        _add_file(tar, "bin/busybox", _BUSYBOX.read_bytes(), 0o755)
        _add_file(tar, "bin/bash", _BASH.read_bytes(), 0o755)
        for applet in _applets():
            _add_link(tar, f"bin/{applet}", "busybox")
        passwd = "root:x:0:0:root:/:/bin/bash\nservice:x:22022:22022:service:/home/service:/bin/bash\n"
        _add_file(tar, "etc/passwd", passwd.encode(), 0o644)
        _add_file(tar, "etc/group", b"root:x:0:\nservice:x:22022:\n", 0o644)
    return buffer.getvalue()


def _applets() -> list[str]:
    listed = subprocess.run([_BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return [applet for applet in listed if applet not in {"bash", "busybox"}]


def _add_directories(tar: tarfile.TarFile, paths: Sequence[str]) -> None:
    every = {"/".join(parts[: end + 1]) for path in paths for parts in [path.split("/")] for end in range(len(parts))}
    for path in sorted(every):
        _add_directory(tar, path, 0o755)


def _add_directory(tar: tarfile.TarFile, path: str, mode: int) -> None:
    member = tarfile.TarInfo(path)
    member.type, member.mode = tarfile.DIRTYPE, mode
    tar.addfile(member)


def _add_file(tar: tarfile.TarFile, path: str, data: bytes, mode: int) -> None:
    member = tarfile.TarInfo(path)
    member.size, member.mode = len(data), mode
    tar.addfile(member, io.BytesIO(data))


def _add_link(tar: tarfile.TarFile, path: str, target: str) -> None:
    member = tarfile.TarInfo(path)
    member.type, member.linkname = tarfile.SYMTYPE, target
    tar.addfile(member)
