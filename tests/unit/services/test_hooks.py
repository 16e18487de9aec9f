"""Hooks always have a terminal, never hang at a question, and leave nothing behind when they are interrupted."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drunner_vault.errors import HookFailed
from drunner_vault.services.hooks import TAIL_BYTES, HookResult, hook_environment, run_hook

Script = Callable[..., Path]


class Interruption(BaseException):
    """Stands for what a signal handler raises."""


def run(path: Path, *arguments: str, env: dict[str, str], **options: object) -> HookResult:
    return run_hook([str(path), *arguments], env=env, terminal=False, **options)  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_hook_has_a_terminal_of_ordinary_size_everywhere(script: Script, plain_env: dict[str, str]) -> None:
    body = 'for fd in 0 1 2; do [ -t $fd ] || exit 9; done; echo to-tty >/dev/tty; stty size; echo "$@"; exit 7\n'
    assert run(script(body), "a b", "c", env=plain_env) == HookResult(7, "to-tty\n24 80\na b c\n")


def test_a_hook_has_its_terminal_when_we_lead_a_session_without_one(script: Script, plain_env: dict[str, str]) -> None:
    path = script("tty -s && echo yes >/dev/tty\n")
    code = (
        "import os; from drunner_vault.services.hooks import run_hook\n"
        f"r = run_hook([{str(path)!r}], env=dict(os.environ))\n"
        "print(r)\n"
        "try: os.open('/dev/tty', os.O_RDWR)\n"
        "except OSError: print('we have none')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        env={**plain_env, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert done.stdout == "HookResult(code=0, output='yes\\n')\nwe have none\n"


def test_a_hook_that_is_killed_has_the_status_a_shell_would_tell(script: Script, plain_env: dict[str, str]) -> None:
    assert run(script("kill -KILL $$\n"), env=plain_env).code == 137


def test_a_hook_that_asks_a_question_gets_an_end_of_file(script: Script, plain_env: dict[str, str]) -> None:
    body = 'read -p \'Sure? \' answer; echo "read said $?"; read again; echo "and $?"; cat; echo done\n'
    begun = time.monotonic()
    assert run(script(body), env=plain_env).output == "Sure? read said 1\nand 1\ndone\n"
    assert time.monotonic() - begun < 8


def test_a_question_in_a_terminal_that_was_made_raw_gets_an_end_of_file_too(
    script: Script, plain_env: dict[str, str]
) -> None:
    body = "stty raw; head -c 1 >/dev/null; stty sane; echo got one\n"
    assert "got one" in run(script(body), env=plain_env).output


def test_a_hook_that_never_reads_is_not_disturbed(script: Script, plain_env: dict[str, str]) -> None:
    assert run(script("sleep 2.5; echo fine\n"), env=plain_env) == HookResult(0, "fine\n")


def test_more_output_than_any_buffer_holds_passes_and_its_end_is_kept(
    script: Script, plain_env: dict[str, str]
) -> None:
    result = run(script("seq 1 200000; echo the end\n"), env=plain_env)
    assert result.output.endswith("199999\n200000\nthe end\n")
    assert len(result.output) <= TAIL_BYTES


def test_output_is_relayed_live_only_when_asked(script: Script, plain_env: dict[str, str], tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    class Listener(io.BytesIO):
        def write(self, data: object) -> int:
            gate.touch()
            return super().write(data)  # type: ignore[arg-type]

    listener = Listener()
    body = f"echo first; for i in $(seq 100); do [ -e {gate} ] && exit 0; sleep 0.1; done; exit 9\n"
    assert run(script(body), env=plain_env, relay=listener).code == 0
    assert listener.getvalue() == b"first\n"


def test_a_listener_that_has_gone_does_not_stop_the_hook(
    script: Script, plain_env: dict[str, str], tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as gone:
        body = f"echo one; sleep 0.3; echo two; touch {tmp_path}/finished\n"
        assert run(script(body), env=plain_env, relay=gone) == HookResult(0, "one\ntwo\n")
    assert (tmp_path / "finished").exists()


def test_what_is_fed_is_typed_and_then_the_end_of_file(script: Script, plain_env: dict[str, str]) -> None:
    reading, writing = os.pipe()
    lines = [f"line {number}\n".encode() for number in range(3000)]

    def feed() -> None:
        with os.fdopen(writing, "wb") as stream:
            for line in lines:
                stream.write(line)

    writer = threading.Thread(target=feed)
    writer.start()
    with os.fdopen(reading, "rb", buffering=0) as stream:
        result = run(script("sort -u | wc -l; echo over\n"), env=plain_env, feed=stream)
    writer.join()
    assert result == HookResult(0, "3000\nover\n")


def test_a_regular_file_can_be_fed_also_without_a_last_line_end(
    script: Script, plain_env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "commands").write_bytes(b"echo hello\necho last")
    with (tmp_path / "commands").open("rb", buffering=0) as stream:
        result = run_hook([str(script("exec bash --norc -i\n"))], env=plain_env, feed=stream)
    assert result.code == 0
    assert "hello\n" in result.output
    assert "last\n" in result.output


def test_feeding_a_hook_that_never_reads_does_not_hang(
    script: Script, plain_env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "much").write_bytes(b"x" * 79 + b"\n" * 20000)
    with (tmp_path / "much").open("rb", buffering=0) as stream:
        assert run(script("sleep 0.5; exit 4\n"), env=plain_env, feed=stream).code == 4


def test_processes_that_a_hook_leaves_behind_are_not_waited_for(
    script: Script, plain_env: dict[str, str], tmp_path: Path
) -> None:
    body = f"setsid bash -c 'echo $$ >{tmp_path}/pid; while :; do echo noise; done' &\nsleep 0.3; exit 6\n"
    begun = time.monotonic()
    try:
        assert run(script(body), env=plain_env).code == 6
        assert time.monotonic() - begun < 5
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_hook_may_close_its_terminal_and_go_on(script: Script, plain_env: dict[str, str]) -> None:
    body = "exec 0<&- 1>&- 2>&-; sleep 0.3; echo back >/dev/tty; exit 5\n"
    assert run(script(body), env=plain_env) == HookResult(5, "back\n")


def test_the_working_directory_is_ours_unless_another_is_given(
    script: Script, plain_env: dict[str, str], tmp_path: Path
) -> None:
    path = script("pwd -P\n")
    place = tmp_path / "a $place"
    place.mkdir()
    assert run(path, env=plain_env).output == f"{Path.cwd().resolve()}\n"
    assert run(path, env=plain_env, cwd=place).output == f"{place.resolve()}\n"


def test_a_hook_inherits_no_open_file_of_ours(script: Script, plain_env: dict[str, str], tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w"):
        assert "secret" not in run(script("ls -l /proc/self/fd/\n"), env=plain_env).output


def test_signals_have_their_usual_effect_in_a_hook(script: Script, plain_env: dict[str, str]) -> None:
    ignored = int(run(script("grep SigIgn /proc/self/status\n"), env=plain_env).output.split()[1], 16)
    assert ignored & 0x7FFFFFFF == 0  # 32 and 33 are the C library's own


def test_a_script_without_a_first_line_for_the_kernel_is_run_by_bash(script: Script, plain_env: dict[str, str]) -> None:
    path = script("A=(1 2); echo ${#A[@]} $1\n", first_line="\n")
    assert run(path, "x", env=plain_env) == HookResult(0, "2 x\n")


def test_a_script_that_cannot_start_is_an_error_not_a_missing_hook(
    script: Script, plain_env: dict[str, str], tmp_path: Path
) -> None:
    unexecutable = script("", name="unexecutable")
    unexecutable.chmod(0o644)
    for path, reason in [
        (tmp_path / "absent", "missing"),
        (unexecutable, "not executable"),
        (script("", name="strange", first_line="#!/no/such/shell -x\n"), "/no/such/shell -x"),
    ]:
        with pytest.raises(HookFailed, match=reason) as caught:
            run(path, "backupstart", env=plain_env)
        assert caught.value.hook == "backupstart"
        assert caught.value.hint


def test_an_interruption_ends_the_hook_and_goes_on(script: Script, plain_env: dict[str, str], tmp_path: Path) -> None:
    body = f"trap 'echo caught >{tmp_path}/trapped; exit 1' INT\necho $$ >{tmp_path}/pid; sleep 60 & wait\n"
    pids = interrupt_when(script(body), plain_env, tmp_path / "pid")
    assert (tmp_path / "trapped").read_text() == "caught\n"
    assert not any(map(alive, pids))


def test_a_hook_that_ignores_all_requests_is_killed(script: Script, plain_env: dict[str, str], tmp_path: Path) -> None:
    body = f"trap '' INT TERM HUP\necho $$ >{tmp_path}/pid\nwhile :; do sleep 0.2; seq 1 9999; done\n"
    begun = time.monotonic()
    pids = interrupt_when(script(body), plain_env, tmp_path / "pid")
    assert time.monotonic() - begun < 8
    assert not any(map(alive, pids))


def interrupt_when(path: Path, env: dict[str, str], started: Path) -> list[int]:
    """Run a hook, raise in it once the file `started` is there, and return the process ids in that file."""

    def handler(_number: int, _frame: object) -> None:
        raise Interruption

    def raise_signal() -> None:
        while not (started.exists() and started.read_text()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGUSR1)

    previous = signal.signal(signal.SIGUSR1, handler)
    waiter = threading.Thread(target=raise_signal)
    waiter.start()
    try:
        with pytest.raises(Interruption):
            run(path, env=env, grace=0.7)
    finally:
        waiter.join()
        signal.signal(signal.SIGUSR1, previous)
    return [int(word) for word in started.read_text().split()]


def test_killing_us_hangs_up_the_hook(script: Script, plain_env: dict[str, str], tmp_path: Path) -> None:
    path = script(f"echo $$ >{tmp_path}/pid; sleep 60\n")
    code = f"from drunner_vault.services.hooks import run_hook; run_hook([{str(path)!r}], env={{}}, terminal=False)"
    ours = subprocess.Popen([sys.executable, "-c", code], env={**plain_env, "PYTHONPATH": os.pathsep.join(sys.path)})
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    ours.kill()
    ours.wait()
    hook = int((tmp_path / "pid").read_text())
    wait_for(lambda: not alive(hook))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def on_a_terminal(code: str, typed: bytes, env: dict[str, str], redirect: str = "") -> bytes:
    """What a person sees who runs the Python code on a terminal of their own and types something."""
    master, slave = pty.openpty()
    shell = ["bash", "-c", f'exec "$0" -c "$1" {redirect}', sys.executable, code]
    env = {**env, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(shell, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=env)
    os.close(slave)
    os.write(master, typed)
    seen = bytearray()
    try:
        while data := os.read(master, 4096):
            seen += data
    except OSError:  # EIO: nobody has the terminal any more
        pass
    os.close(master)
    child.wait()
    return bytes(seen)


def test_at_a_persons_terminal_the_hook_has_it_and_prints_to_standard_error(
    script: Script, plain_env: dict[str, str], tmp_path: Path
) -> None:
    path = script(f"read -p 'Sure? ' answer; echo \"you said $answer\"; [ -t 1 ] || echo no >{tmp_path}/no; exit 6\n")
    code = (
        "import os; from drunner_vault.services.hooks import run_hook\n"
        f"print(run_hook([{str(path)!r}], env=dict(os.environ)))"
    )
    seen = on_a_terminal(code, b"yes\n", plain_env, redirect=f">{tmp_path}/out")
    assert b"Sure? " in seen
    assert b"you said yes" in seen
    assert (tmp_path / "out").read_text() == "HookResult(code=6, output='')\n"
    assert not (tmp_path / "no").exists()


def test_with_standard_error_elsewhere_a_hook_is_not_given_the_persons_terminal(
    script: Script, plain_env: dict[str, str], tmp_path: Path
) -> None:
    path = script("read answer; echo read said $?\n")
    code = (
        "import os; from drunner_vault.services.hooks import run_hook\n"
        f"print(run_hook([{str(path)!r}], env=dict(os.environ)))"
    )
    seen = on_a_terminal(code, b"", plain_env, redirect=f"2>{tmp_path}/err")
    assert b"HookResult(code=0, output='read said 1\\n')" in seen


def test_a_hooks_environment_has_no_passphrase_and_finds_our_commands_first() -> None:
    environ = {"PATH": "/bin", "PASS": "x", "DRUNNER_PASSPHRASE": "x", "DRUNNER_PASSPHRASE_FILE": "x", "KEEP": "1"}
    assert hook_environment(environ, [Path("/a"), "/b"]) == {"PATH": "/a:/b:/bin", "KEEP": "1"}
    assert hook_environment({})["PATH"] == os.defpath


def become(path: Path, env: dict[str, str], *arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    code = (
        "import os, sys; from drunner_vault.services.hooks import pass_through\n"
        "print('before', flush=False)\n"
        "pass_through(sys.argv[1:], os.environ)"
    )
    env = {**env, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-c", code, path, *arguments], env=env, capture_output=True, check=False, **options
    )


def test_a_command_of_the_service_gets_everything_of_ours_and_decides_the_exit_code(
    script: Script, plain_env: dict[str, str], tmp_path: Path
) -> None:
    path = script('pwd; echo "$PASS|$1|$2|$#"; cat; echo oops >&2; exit 3\n')
    done = become(path, {**plain_env, "PASS": "kept"}, "a b", "", input=b"typed\n", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, b"oops\n")
    assert done.stdout == f"before\n{tmp_path}\nkept|a b||2\ntyped\n".encode()


def test_a_command_of_the_service_dies_of_a_broken_pipe_as_usual(script: Script, plain_env: dict[str, str]) -> None:
    done = become(script("grep SigIgn /proc/self/status\n"), plain_env)
    assert int(done.stdout.split()[-1], 16) & 0x7FFFFFFF == 0  # those above are the C library's own


def test_help_is_shown_whatever_its_exit_code(script: Script, plain_env: dict[str, str]) -> None:
    path = script("echo usage; exit 1\n")
    code = f"from drunner_vault.services.hooks import run_help; run_help([{str(path)!r}, 'help'], {{}})"
    env = {**plain_env, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"usage\n")
