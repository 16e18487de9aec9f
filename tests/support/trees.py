"""Trees of files with everything odd in them that a volume may hold, and a judge of whether two trees are the same.

The judge is GNU tar: with names sorted and its own times left out, equal trees give equal bytes, and everything counts:
names, kinds, modes, owners, sizes, nanoseconds, links, hard links, devices, attributes, ACLs, holes, content.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

LONG = b"n" * 255
BINARY = bytes(range(256)) * 4
# As process 1 of a namespace of its own, because it writes its number into the names of files with holes.
_TAR = (
    "unshare --pid --fork tar --format=pax --sort=name --numeric-owner --xattrs --xattrs-include=* --acls "
    "--sparse --hole-detection=seek "
    "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"
)


def make_odd_tree(root: Path, *, big: bool = True) -> None:
    """Fill a directory with what file systems allow. GNU tar could unpack all of it again. big: over 8 GiB of holes."""
    _ordinary(root)
    _holes(root / "holes")
    if big:
        _sparse(root / "holes/over 8 GiB", (9 << 30) + 3, {5: b"low", 8 << 30: b"middle", (9 << 30) - 1: b"high"})
    _links(root / "links")
    _names(root / "names")
    _attributes(root / "attributes")
    _special(root / "special")
    _times(root)


def make_deep_tree(root: Path) -> None:
    """Fill a directory with paths that are too long to be given to any system call."""
    fd = os.open(root, os.O_RDONLY)
    for level in range(40):
        name = b"%02d-" % level + b"d" * 240
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
        with os.fdopen(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=fd), "wb") as stream:
            stream.write(b"at level %d\n" % level)
    os.setxattr(fd, "user.depth", b"40")
    os.symlink(b"../file", b"link", dir_fd=fd)
    os.link(b"file", b"second-name", src_dir_fd=fd, dst_dir_fd=fd)
    os.mkfifo(b"fifo", dir_fd=fd)
    os.setxattr(b"/proc/self/fd/%d/fifo" % fd, "trusted.depth", b"deep")
    os.utime(b"file", ns=(0, -1_500_000_000), dir_fd=fd)
    os.close(fd)


def _ordinary(root: Path) -> None:
    (root / "plain").write_text("plain\n")
    (root / "empty").touch()
    (root / "empty directory").mkdir()
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/c/file").write_bytes(os.urandom(3 << 20))
    for number in range(300):
        (root / "a/b" / f"small-{number}").write_text(f"{number}\n" * (number % 50))
    for size in (511, 512, 513, (128 << 10) - 1, 128 << 10, (1 << 20) + 1):
        (root / "a" / f"size-{size}").write_bytes(b"\xa5" * size)
    for mode in (0o000, 0o400, 0o777, 0o4755, 0o2755, 0o6711, 0o1644):
        path = root / f"mode-{mode:04o}"
        path.write_text("mode")
        path.chmod(mode)
    for mode in (0o1777, 0o2775, 0o700, 0o000):
        path = root / f"directory-{mode:04o}"
        path.mkdir()
        (path / "inside").touch()
        path.chmod(mode)
    for number, owner in enumerate((1, 22022, 2_097_151, 2_097_152, 4_294_967_294)):
        path = root / f"owner-{number}"
        path.touch()
        os.chown(path, owner, owner - 1)


def _holes(root: Path) -> None:
    root.mkdir()
    _sparse(root / "at the start", 1 << 20, {700_000: b"late"})
    _sparse(root / "at the end", 1 << 20, {0: b"early"})
    _sparse(root / "in the middle", (1 << 20) + 77, {0: b"x" * 5000, 300_001: b"y" * 9000, (1 << 20) + 70: b"tail"})
    _sparse(root / "nothing else", 12_345_678, {})
    _sparse(root / "many", 8 << 20, dict.fromkeys(range(0, 8 << 20, 16384), b"run"))
    (root / "zeros that are no hole").write_bytes(bytes(300_000))


def _sparse(path: Path, size: int, data: dict[int, bytes]) -> None:
    with path.open("wb") as stream:
        stream.truncate(size)
        for offset, content in data.items():
            stream.seek(offset)
            stream.write(content)


def _links(root: Path) -> None:
    root.mkdir()
    (root / "z").mkdir()
    (root / "first").write_text("has four names")
    for name in ("second", "z/third", "z/fourth"):
        (root / name).hardlink_to(root / "first")
    (root / "dangling").symlink_to("no/such/thing")
    (root / "absolute").symlink_to("/etc/passwd")
    (root / "up").symlink_to("../../../../..")
    (root / "to directory").symlink_to("z")
    (root / "bytes").symlink_to(os.fsdecode(b"\xff\xfe not text\n"))
    (root / "long").symlink_to("x" * 4000)
    os.link(root / "dangling", root / "z/dangling too", follow_symlinks=False)
    os.lchown(root / "absolute", 77, 88)
    os.setxattr(root / "absolute", "trusted.on.a.symlink", b"yes", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o642)
    os.link(root / "fifo", root / "z/fifo too")


def _names(root: Path) -> None:
    root.mkdir()
    names = [
        b"line\nbreak", b"back\\slash", b"tab\t", b" space ", b"-dash", b"*?[x]", b"100%", b"a=b", b"\x01\x7f",
        b"'\"`$(x)", b"\xff\xfe\x80", b"half \xc3", "Ünïcödé ☃".encode(), "\u202etxt.exe".encode(), LONG,
        "ü".encode() * 127, b"\\x41", b"%41",
    ]  # fmt: skip
    for name in names:
        (root / os.fsdecode(name)).write_bytes(name)
        (root / os.fsdecode(name[:250] + b".dir")).mkdir()
    path = root
    for level in range(6):
        path = path / (f"{level}" + "p" * 180)
        path.mkdir()
        (path / "file").write_text(str(level))


def _attributes(root: Path) -> None:
    root.mkdir()
    (root / "file").write_text("has attributes")
    (root / "directory").mkdir()
    for name, value in {
        "user.text": b"text", "user.binary": BINARY, "user.empty": b"", "user.a=b": b"=", "user.100%": b"%",
        "user.%3D": b"%25", "user.line": b"a\nb\n", "trusted.secret": b"\0\1", "user.r\u00f6d": b"utf-8",
    }.items():  # fmt: skip
        os.setxattr(root / "file", name, value)
        os.setxattr(root / "directory", name, value)
    for path in ("acl", "default acl/inherits"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text("acl")
    _run("setfacl", "-m", "u:12345:rwx,u:3000000000:r,g:54321:-wx,m:rw", root / "acl")
    _run("setfacl", "-m", "d:u:12345:rwx,d:g::r,d:o::---,u:7:x", root / "default acl")
    (root / "default acl/child").write_text("born with an acl")
    (root / "default acl/child directory").mkdir()
    (root / "capable").write_text("x")
    (root / "capable").chmod(0o755)
    _run("setcap", "cap_net_bind_service,cap_net_admin=ep", root / "capable")
    os.chown(root / "acl", 5, 6)
    _sparse(root / "with holes", 200_000, {100_000: b"x"})
    os.setxattr(root / "with holes", "user.binary", BINARY)


def _special(root: Path) -> None:
    root.mkdir()
    os.mkfifo(root / "fifo", 0o600)
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.mknod(root / "loop", 0o60660, os.makedev(7, 0))
    os.mknod(root / "far", 0o20600, os.makedev(4095, 1_048_575))
    os.chown(root / "null", 12, 34)
    os.setxattr(root / "fifo", "trusted.pipe", b"1")
    os.link(root / "null", root / "null too")
    listener = socket.socket(socket.AF_UNIX)
    fd = os.open(root, os.O_RDONLY)
    listener.bind(f"/proc/self/fd/{fd}/socket")
    listener.close()
    os.close(fd)


def _times(root: Path) -> None:
    directory = root / "times"
    directory.mkdir()
    for name, nanoseconds in {
        "before 1970": -1, "long before": -1_000_000_001, "1901": -(2**31) * 10**9, "zero": 0, "half": 500_000_000,
        "exact": 1_234_567_890_123_456_789, "2038": 2**31 * 10**9 + 1, "2242": 2**33 * 10**9 + 7,
    }.items():  # fmt: skip
        (directory / name).touch()
        (directory / f"{name}.d").mkdir()
        (directory / f"{name}.d/inside").touch()
        (directory / f"{name}.l").symlink_to("x")
        os.utime(directory / name, ns=(0, nanoseconds))
        os.utime(directory / f"{name}.d", ns=(0, nanoseconds))
        os.utime(directory / f"{name}.l", ns=(0, nanoseconds), follow_symlinks=False)
    os.utime(directory, ns=(0, -77))
    os.utime(root, ns=(0, 987_654_321_987_654_321))


def tar_of(root: Path, *, holes: bool = True) -> list[str]:
    """What GNU tar makes of a tree, a line for each fact; sockets are left out. holes: whether they count."""
    command = [word for word in _TAR.split() if holes or word not in ("--sparse", "--hole-detection=seek")]
    done = subprocess.run([*command, "-C", root, "-cf", "-", "."], capture_output=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if not line.endswith(b"socket ignored")]
    assert done.returncode == 0, complaints
    assert complaints == []
    return list(_facts(done.stdout))


def assert_same_tree(actual: Path, expected: list[str], *, holes: bool = True) -> None:
    """Fail, saying where, unless GNU tar makes ``expected`` of the tree."""
    found = tar_of(actual, holes=holes)
    if found != expected:
        lines = difflib.unified_diff(expected, found, "expected", "found", lineterm="", n=1)
        pytest.fail(f"{actual} differs\n" + "\n".join(list(lines)[:80]), pytrace=False)


def plain_facts(root: Path) -> list[str]:
    """What find, sha256sum and getcap say: everything but attributes, ACLs, holes, and times below a second."""
    files = subprocess.run(
        ["bash", "-c", "find . -type f -print0 | sort -z | xargs -0 sha256sum -z; getcap -r ."],
        cwd=root, capture_output=True, check=True,
    ).stdout  # fmt: skip
    return find_facts(root) + [repr(line) for line in files.split(b"\0")]


def find_facts(root: Path) -> list[str]:
    """Name, kind, mode, owner, size, count of hard links, target and second of everything but sockets."""
    format_of = {"d": r"%P|%y|%m|%U|%G|%Ts\0", "l": r"%P|%y|%U|%G|%l|%Ts\0"}
    found: list[str] = []
    for kind in "dlfpcb":
        text = format_of.get(kind, r"%P|%y|%m|%U|%G|%s|%n|%Ts\0")
        listed = subprocess.run(["find", root, "-type", kind, "-printf", text], capture_output=True, check=True).stdout
        found += [repr(line) for line in listed.split(b"\0") if line]
    return sorted(found)


def _facts(tar: bytes) -> Iterator[str]:
    """Of each member: its header, its extended records in order of their names, and the hash of its content.

    Which attribute a file system names first means nothing.
    """
    at = 0
    stored = None
    while tar[at : at + 512].strip(b"\0"):
        header = tar[at : at + 512]
        size = int(header[124:136].rstrip(b"\0 "), 8) if stored is None else stored
        content = tar[at + 512 : at + 512 + size]
        stored = None
        yield repr(re.sub(rb"\0+", b" ", header[:148] + header[156:]))
        if header[156:157] == b"x":
            records = sorted(_records(content))
            yield from (f"    {record!r}"[:300] for record in records)
            stored = next((int(record[5:]) for record in records if record.startswith(b"size=")), None)
        if size:
            yield f"    {hashlib.sha256(content).hexdigest() if header[156:157] != b'x' else 'records'}"
        at += 512 + size + -size % 512


def _records(body: bytes) -> Iterator[bytes]:
    while body:
        length = int(body.partition(b" ")[0])
        yield body[:length].partition(b" ")[2].rstrip(b"\n")
        body = body[length:]


def _run(*argv: str | Path) -> None:
    subprocess.run(argv, check=True, capture_output=True)
