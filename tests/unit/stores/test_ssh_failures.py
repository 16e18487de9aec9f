"""What ssh and the far end can do wrong, and what a person is told."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support import sshservers
from support.sshservers import SshServer, ssh_server

from drunner_vault.errors import AccessDenied, BadUsage, NoSpace, NotFound, StorageError, Unavailable
from drunner_vault.stores.ssh import protocol
from drunner_vault.stores.ssh.options import SshOptions
from drunner_vault.stores.ssh.protocol import Kind
from drunner_vault.stores.ssh.store import SshStore
from drunner_vault.stores.store import put, storing


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    if sshservers.missing_parts() and os.environ.get("ALLOW_SKIP") == "1":
        pytest.skip(sshservers.missing_parts())
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def told(error: type[StorageError], store: SshStore) -> StorageError:
    """The error of the first call, of exactly this class, in two lines."""
    with pytest.raises(StorageError) as caught:
        store.stat("a")
    assert type(caught.value) is error
    assert "\n" not in caught.value.message + caught.value.hint
    assert caught.value.hint
    return caught.value


def configured(server: SshServer, root: Path, tmp_path: Path, *settings: str) -> SshOptions:
    """As the server's own client, with other settings first."""
    config = tmp_path / "ssh_config"
    config.write_text("\n".join([*settings, f"Include {server.directory}/ssh_config"]))
    return replace(server.options(root), command=("ssh", "-F", str(config)))


def test_a_host_whose_key_is_not_known_is_not_trusted(server: SshServer, root: Path, tmp_path: Path) -> None:
    options = configured(server, root, tmp_path, "UserKnownHostsFile /dev/null")
    error = told(StorageError, SshStore(options))
    assert "host key of faraway is not known" in error.message
    assert options.by_hand in error.hint


def test_a_host_whose_key_has_changed_is_not_trusted(server: SshServer, root: Path, tmp_path: Path) -> None:
    other = (server.directory / "user_key.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {other}")
    error = told(StorageError, SshStore(configured(server, root, tmp_path, f"UserKnownHostsFile {tmp_path}/known")))
    assert "another host key" in error.message
    assert "ssh-keygen -R" in error.hint


def test_a_key_that_is_not_admitted_is_access_denied(server: SshServer, root: Path, tmp_path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    known = f"UserKnownHostsFile {server.directory}/known_hosts"
    config = tmp_path / "config"
    config.write_text(f"IdentityFile {tmp_path}/key\nIdentitiesOnly yes\nIdentityAgent none\n{known}")
    options = SshOptions("127.0.0.1", str(root), port=server.port, command=("ssh", "-F", str(config)))
    error = told(AccessDenied, SshStore(options))
    assert "Permission denied" in error.message
    assert "ssh-copy-id" in error.hint


def test_a_host_that_cannot_be_reached_is_unavailable(server: SshServer, root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    error = told(Unavailable, SshStore(replace(server.options(root), port=port)))
    assert "Connection refused" in error.message
    error = told(Unavailable, SshStore(replace(server.options(root), host="no-such-host.invalid")))
    assert "resolve" in error.message


def test_a_host_that_accepts_and_says_nothing_is_unavailable(server: SshServer, root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        options = replace(server.options(root, timeout=1), port=int(mute.getsockname()[1]))
        started = time.monotonic()
        told(Unavailable, SshStore(options))
        assert time.monotonic() - started < 5


def test_a_host_without_sftp_is_named(root: Path, tmp_path: Path) -> None:
    for number, sftp in enumerate(("/no/such/program", "")):
        with ssh_server(tmp_path / f"sshd{number}", sftp=sftp) as server:
            assert "offers no sftp" in told(StorageError, SshStore(server.options(root))).message


def test_a_shell_that_talks_is_named(root: Path, tmp_path: Path) -> None:
    with ssh_server(tmp_path / "sshd", settings="ForceCommand echo This account is not available.") as server:
        error = told(StorageError, SshStore(server.options(root)))
        assert "not sftp: it begins with 'This account is not" in error.message
        assert "login" in error.hint


def test_ssh_that_is_not_installed_is_bad_usage(root: Path) -> None:
    with pytest.raises(BadUsage, match="no-such-ssh"):
        SshStore(SshOptions("faraway", str(root), command=("no-such-ssh",))).stat("a")


def test_settings_that_ssh_does_not_understand_are_shown(server: SshServer, root: Path, tmp_path: Path) -> None:
    error = told(StorageError, SshStore(configured(server, root, tmp_path, "NoSuchSetting yes")))
    assert "cannot log in to faraway" in error.message


def test_settings_for_people_are_not_in_the_way(server: SshServer, root: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = (
            "RemoteCommand true",
            "RequestTTY force",
            f"LocalForward {taken.getsockname()[1]} 127.0.0.1:1",
            "ExitOnForwardFailure yes",
            "ControlMaster auto",
            "ControlPersist yes",
            f"ControlPath {tmp_path}/control",
        )
        store = SshStore(configured(server, root, tmp_path, *settings))
        put(store, "a", b"data")
        assert store.read("a", 0, 10) == b"data"
        assert not (tmp_path / "control").exists(), "a master would outlive us"
        store.close()


def test_a_jump_host_is_used_as_the_settings_say(server: SshServer, root: Path, tmp_path: Path) -> None:
    jump = (server.directory / "ssh_config").read_text().replace(
        "Host faraway", "Host behind"
    ) + "    ProxyJump faraway"
    config = tmp_path / "ssh_config"
    config.write_text(f"{jump}\n{(server.directory / 'ssh_config').read_text()}")
    store = SshStore(replace(server.options(root), host="behind", command=("ssh", "-F", str(config))))
    put(store, "a", b"data")
    assert store.read("a", 0, 10) == b"data"
    store.close()
    wait_until(lambda: not server.sessions())


def test_a_store_whose_directory_is_missing_says_so(server: SshServer, tmp_path: Path) -> None:
    store = SshStore(server.options(tmp_path / "not there"))
    for call in (
        lambda: store.begin("a"),
        lambda: store.stat("a"),
        lambda: store.read("a", 0, 1),
        lambda: [*store.list()],
    ):
        with pytest.raises(StorageError, match=r"there is no directory .*not there on faraway") as caught:
            call()
        assert not isinstance(caught.value, NotFound)
        assert f"mkdir -p '{tmp_path}/not there'" in caught.value.hint
    store.close()


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", root], check=True)
    yield root
    subprocess.run(["umount", "--lazy", root], check=True)  # a test that failed may have left something open


def test_a_full_disk_over_there_is_named_and_left_as_it_was(server: SshServer, small_disk: Path) -> None:
    store = SshStore(server.options(small_disk))
    put(store, "kept", b"old")
    for pieces in (1, 10):  # noticed by `commit`, and by `write`
        with pytest.raises(NoSpace, match="no space is left on faraway"), storing(store, "new") as upload:
            upload.write(bytes(pieces << 22))
    assert [path.name for path in small_disk.iterdir()] == ["kept"]
    put(store, "another", bytes(1 << 20))
    store.close()


def test_a_disk_without_room_for_one_more_file_is_full(server: SshServer, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=4", small_disk], check=True)
    store = SshStore(server.options(small_disk))
    put(store, "one", b"")
    put(store, "two", b"")
    with pytest.raises(NoSpace):  # tmpfs counts a second name as another file
        put(store, "three", b"")
    (small_disk / "three").touch()
    with pytest.raises(NoSpace):
        store.begin("four")
    with pytest.raises(NoSpace):
        store.begin("directory/four")
    store.close()


def test_a_disk_that_is_read_only_is_access_denied(server: SshServer, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    store = SshStore(server.options(small_disk))
    with pytest.raises(AccessDenied, match="read-only"):
        store.begin("a")
    store.close()


def test_missing_permissions_are_access_denied(root: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("becoming somebody else needs root")
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    for path in (*root.parents, root):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(0o755)
    (root / "secret").write_text("x")
    (root / "secret").chmod(0o600)
    (root / "closed").mkdir(mode=0o700)
    with ssh_server(tmp_path / "sshd", sftp=f"{nobody} {sshservers.SFTP_SERVER}") as server:
        store = SshStore(server.options(root))
        assert store.stat("secret").size == 1
        for call in (
            lambda: store.begin("a"),
            lambda: store.begin("new/a"),
            lambda: store.read("secret", 0, 1),
            lambda: store.stat("closed/a"),
            lambda: store.delete("secret"),
            lambda: [*store.list()],
        ):
            with pytest.raises(AccessDenied, match=f"{root}.* on faraway: Permission denied"):
                call()
        store.close()


def test_a_server_that_stops_answering_is_unavailable_in_time(server: SshServer, root: Path) -> None:
    store = SshStore(server.options(root, timeout=0.5))
    put(store, "a", b"data")
    reading = (lambda: store.read("a", 0, 4), lambda: [*store.list()], lambda: store.begin("c"))
    for call in (*reading, lambda: store.begin("b").write(bytes(20 << 20))):
        list(store.list())  # a connection that answers
        with stopped(server):
            started = time.monotonic()
            with pytest.raises(Unavailable, match=r"not answered for 0\.5 seconds") as caught:
                call()
            assert caught.value.hint
            assert time.monotonic() - started < 3
    assert store.read("a", 0, 4) == b"data"
    store.close()


def test_an_upload_whose_server_stopped_can_be_aborted_and_done_again(server: SshServer, root: Path) -> None:
    store = SshStore(server.options(root, timeout=2.0))
    upload = store.begin("a")
    with stopped(server):
        with pytest.raises(Unavailable):
            upload.write(bytes(20 << 20))
        with pytest.raises(StorageError, match="not all of"):
            upload.commit()
    assert [leftover.key for leftover in store.leftovers()] == ["a"]
    upload.abort()
    assert not list(store.leftovers())
    put(store, "a", b"data")
    store.close()


@contextmanager
def stopped(server: SshServer) -> Iterator[None]:
    """Whatever serves clients stands still, and is ended afterwards."""
    pids = server.sessions()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        sshservers.end_processes(pids)


# --- servers that do not keep to the protocol -------------------------------------------------------------------------


def stand_in(tmp_path: Path, answers: list[bytes], last: str = "sys.stdin.buffer.read()") -> SshOptions:
    """A program that is called as ssh is, greets, and answers one packet after the other with these bodies; in each,
    `NUMB` stands for the number of the request."""
    program = tmp_path / "stand-in"
    program.write_text(
        f"""import struct, sys
def packet():
    return sys.stdin.buffer.read(struct.unpack(">I", sys.stdin.buffer.read(4))[0])
packet()
sys.stdout.buffer.write(struct.pack(">IBI", 5, 2, 3))
sys.stdout.buffer.flush()
for answer in {answers!r}:
    answer = answer.replace(b"NUMB", packet()[1:5])
    sys.stdout.buffer.write(struct.pack(">I", len(answer)) + answer)
    sys.stdout.buffer.flush()
{last}
"""
    )
    return SshOptions("faraway", "/root", command=(sys.executable, str(program)), timeout=5)


def status(code: int, text: str) -> bytes:
    return (
        bytes([Kind.STATUS]) + b"NUMB" + struct.pack(">I", code) + protocol.string(text.encode()) + protocol.string(b"")
    )


HANDLE = bytes([Kind.HANDLE]) + b"NUMB" + protocol.string(b"h")
A_DIRECTORY = bytes([Kind.ATTRS]) + b"NUMB" + struct.pack(">II", 4, 0o040755)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([status(3, "Permission denied"), A_DIRECTORY], id="as ProFTPD, when it is opened"),
        pytest.param(
            [HANDLE, status(24, "Is a directory"), status(0, ""), A_DIRECTORY], id="as asyncssh, when it is read"
        ),
    ],
)
def test_a_directory_is_no_object_however_a_server_says_so(tmp_path: Path, answers: list[bytes]) -> None:
    store = SshStore(stand_in(tmp_path, [*answers, A_DIRECTORY]))  # the last for the store's root
    with pytest.raises(NotFound):
        store.read("a", 0, 1)
    store.close()


def test_what_is_below_a_file_is_not_there_however_a_server_says_so(tmp_path: Path) -> None:
    a_file = bytes([Kind.ATTRS]) + b"NUMB" + struct.pack(">II", 4, 0o100644)
    answers = [status(4, "Not a directory"), a_file, A_DIRECTORY]  # to it, its parent, the store's root
    store = SshStore(stand_in(tmp_path, answers))
    with pytest.raises(NotFound):
        store.stat("a/b")
    store.close()


def test_the_servers_words_do_nothing_to_a_terminal(tmp_path: Path) -> None:
    store = SshStore(stand_in(tmp_path, [status(4, "\x1b]0;x\x07 bad\nnews " + "x" * 5000)] * 2))
    error = told(StorageError, store)
    assert error.message.isprintable()
    assert "bad news" in error.message
    assert len(error.message) < 500
    store.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff" + b"NUMB",
        bytes([Kind.STATUS]) + b"\xff\xff\xff\xfe" + struct.pack(">I", 0),
        bytes([Kind.STATUS]) + b"NUMB" + struct.pack(">I", 0),
        bytes([Kind.HANDLE]) + b"NUMB" + protocol.string(b"not what was asked"),
        bytes([Kind.ATTRS]) + b"NUMB" + b"\0",
        b"x" * ((1 << 20) + 1),
    ],
    ids=["type", "number", "status", "kind", "short", "long"],
)
def test_an_answer_that_cannot_be_is_refused(tmp_path: Path, answer: bytes) -> None:
    store = SshStore(stand_in(tmp_path, [answer]))
    assert "not sftp" in told(StorageError, store).message
    store.close()


@pytest.mark.parametrize("name", ["a/b", "../x", "", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    attributes = struct.pack(">II", 4, 0o100600)
    entry = protocol.path(name) + protocol.string(b"") + attributes
    answers = [
        bytes([Kind.ATTRS]) + b"NUMB" + struct.pack(">II", 4, 0o40700),
        bytes([Kind.HANDLE]) + b"NUMB" + protocol.string(b"h"),
        bytes([Kind.NAME]) + b"NUMB" + struct.pack(">I", 1) + entry,
    ]
    store = SshStore(stand_in(tmp_path, answers))
    with pytest.raises(StorageError, match="as a name in a directory"):
        list(store.list())
    store.close()


def test_more_bytes_than_were_asked_for_are_refused(tmp_path: Path) -> None:
    answers = [
        bytes([Kind.HANDLE]) + b"NUMB" + protocol.string(b"h"),
        bytes([Kind.DATA]) + b"NUMB" + protocol.string(b"12345"),
    ]
    store = SshStore(stand_in(tmp_path, answers))
    with pytest.raises(StorageError, match="5 bytes where 4"):
        store.read("a", 0, 4)
    store.close()


def test_bytes_that_come_bit_by_bit_are_put_together(tmp_path: Path) -> None:
    pieces = [bytes([Kind.DATA]) + b"NUMB" + protocol.string(piece) for piece in (b"12", b"3", b"45")]
    answers = [bytes([Kind.HANDLE]) + b"NUMB" + protocol.string(b"h"), *pieces]
    store = SshStore(stand_in(tmp_path, answers))
    assert store.read("a", 0, 5) == b"12345"
    store.close()


def test_a_loss_tells_what_ssh_said_last(tmp_path: Path) -> None:
    options = stand_in(tmp_path, [], "packet(); sys.exit('welcome!\\nTimeout, server faraway not responding.')")
    error = told(Unavailable, SshStore(options))
    assert "connection to faraway was lost: Timeout, server faraway not responding." in error.message


# --- the child --------------------------------------------------------------------------------------------------------


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ssh_of(store: SshStore) -> int:
    return store._site.session().connection.pid


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ssh_ends_with_its_store_and_begins_again_when_needed(server: SshServer, root: Path) -> None:
    store = SshStore(server.options(root))
    put(store, "a", b"data")
    first = ssh_of(store)
    assert os.getsid(first) == first, "Ctrl-C in our terminal is not for ssh"
    store.close()
    store.close()
    assert not is_running(first)
    assert store.read("a", 0, 9) == b"data"
    second = ssh_of(store)
    os.kill(second, signal.SIGKILL)
    while ssh_of(store) == second:
        time.sleep(0.02)
    assert store.read("a", 0, 9) == b"data"
    third = ssh_of(store)
    del store
    assert not is_running(third)


@pytest.mark.parametrize("ending", ["", "os.kill(os.getpid(), 9)", "os._exit(0)", "raise SystemExit(1)"])
def test_ssh_ends_with_the_program_however_it_ends(server: SshServer, root: Path, ending: str) -> None:
    program = f"""
import os
from drunner_vault.stores.ssh.options import ssh_options
from drunner_vault.stores.ssh.store import SshStore
store = SshStore(ssh_options("faraway", {str(root)!r}, os.environ))
store.begin("a").write(b"x")
print(store._site.session().connection.pid, flush=True)
{ending}
"""
    environment = {**os.environ, **server.environment()}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False
    )
    assert time.monotonic() - started < 10
    wait_until(lambda: not is_running(int(done.stdout)))


def test_a_test_server_runs_commands_too(server: SshServer) -> None:
    assert server.run("echo", "a  b") == "a  b\n"
    assert shlex.split(server.environment()["DRUNNER_SSH"])[0] == "ssh"
