"""The guides in docs/, as somebody follows them: each block of commands is typed at a terminal, and what the guide says
one sees is held against what is there to be seen.

In a guide, a block of `sh` is to be typed. What stands in the next block of `text` is what one sees then: its lines
come in this order, perhaps with others between; `…` is anything, and sizes and times are examples. Comments, which
nobody who reads the guide sees, tell the rest: `<!-- on NAME -->`, from there on commands are typed on that host;
`<!-- exits 3 -->`, the next block ends so; `<!-- not run in tests: WHY -->`, the next block cannot be tried here.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from support.engines import CHECKOUT, Host

GUIDES = CHECKOUT / "docs"
_COMMENT = re.compile(r"<!-- (on|exits|not run in tests:) (.*) -->")
_FENCE = "```"
_COLUMNS, _ROWS = 200, 50


@dataclass(frozen=True)
class Block:
    """Commands that belong together. where: the guide's name and line. place: the host on which they are typed.
    unrun: why that cannot be done in a test; empty if it can. sees: the lines that one sees. section: the heading."""

    where: str
    section: str
    place: str
    text: str
    code: int = 0
    unrun: str = ""
    sees: tuple[str, ...] = ()


def read_guide(name: str) -> list[Block]:
    """The blocks of docs/NAME, in order."""
    blocks: list[Block] = []
    lines = iter(enumerate((GUIDES / name).read_text().splitlines(), 1))
    section, place, code, unrun = "", "", 0, ""
    for number, line in lines:
        if line.startswith("<!--"):
            comment = _COMMENT.fullmatch(line)
            assert comment, f"{name}:{number}: no such comment is known"
            kind, value = comment.groups()
            place = value if kind == "on" else place
            code = int(value) if kind == "exits" else code
            unrun = value if kind == "not run in tests:" else unrun
        elif line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith(_FENCE):
            body = []
            for _, inner in lines:
                if inner == _FENCE:
                    break
                body.append(inner)
            if line == f"{_FENCE}sh":
                blocks.append(Block(f"{name}:{number}", section, place, "\n".join(body), code, unrun))
                code, unrun = 0, ""
            else:
                assert line == f"{_FENCE}text", f"{name}:{number}: neither typed nor seen"
                assert not blocks[-1].sees, f"{name}:{number}: the block before has been seen already"
                blocks[-1] = replace(blocks[-1], sees=tuple(body))
    return blocks


def commands(text: str) -> list[str]:
    """The commands of a block, whole: a line that bash takes for the beginning of one belongs to the next."""
    found, begun = [], ""
    for line in text.splitlines():
        begun += f"{line}\n"
        tried = subprocess.run(["bash", "-n"], input=begun, capture_output=True, text=True, check=False)
        if tried.returncode == 0 and not tried.stderr and not line.endswith("\\"):
            found.append(begun)
            begun = ""
    assert not begun, f"this is no whole command: {begun}"
    return [command for command in found if command.strip()]


def unseen(sees: Sequence[str], screen: str) -> str:
    """The first of these lines that is not on the screen after the one before; empty if all are."""
    rest = iter([_plain(line) for line in screen.splitlines()])
    for line in filter(None, map(_plain, sees)):
        pattern = re.compile("".join(map(_pattern, _PIECES.split(line))))
        if not any(pattern.search(shown) for shown in rest):
            return line
    return ""


_PIECES = re.compile(r"(…|[0-9.]+ (?:B|KiB|MiB|GiB|s)\b)")


def _pattern(piece: str) -> str:
    if piece == "…":
        return ".*"
    return r"[0-9.]+ ([KMGT]i)?[Bs]\b" if _PIECES.fullmatch(piece) else re.escape(piece)


def _plain(line: str) -> str:
    """A line without what draws a table, and with single spaces."""
    return " ".join(re.sub(r"[\u2500-\u257f]", " ", line).split())


@dataclass
class Machine:
    """A host as whoever sits before it finds it: with its own name, /etc/cron.d and /etc/ssh/ssh_config, besides its
    engine and places. environment: what a login there has besides. cron_tables, ssh_config: what these two are."""

    host: Host
    pid: int
    environment: Mapping[str, str]
    cron_tables: Path
    ssh_config: Path

    @property
    def inside(self) -> list[str]:
        """What runs a command in there, in its home."""
        # nsenter would be in /, and what a guide writes beside itself would land there
        home = ["sh", "-c", 'cd "$0" && exec "$@"', str(self.host.home)]
        return ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--", *home]

    def drunner(self, *args: str | Path, **more: str) -> str:
        """What `drunner-vault ARGS` prints there, with more in its environment."""
        environment = {**self.host.environment(), **self.environment, **more}
        command = [*self.inside, "drunner-vault", *map(str, args)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


_MACHINE = """
hostname "$1"
mount --bind "$2" /etc/cron.d
mount --bind "$3" /etc/ssh/ssh_config
echo ready
exec sleep infinity
"""


@contextmanager
def machine(name: str, host: Host, directory: Path, environment: Mapping[str, str]) -> Iterator[Machine]:
    """Give a host a name and files of its own, below ``directory``, while the block runs."""
    tables, config = directory / name / "cron.d", directory / name / "ssh_config"
    tables.mkdir(parents=True)
    config.touch()
    command = ["unshare", "--mount", "--uts", "sh", "-ec", _MACHINE, "sh", name, str(tables), str(config)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield Machine(host, process.pid, environment, tables, config)
    finally:
        process.kill()
        process.communicate()


class Terminal:
    """Somebody's terminal on a machine, with a shell that remembers from one command to the next where it is."""

    def __init__(self, machine: Machine) -> None:
        self._terminal, inner = os.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        _without_echo(inner)
        shell = ["setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"]
        # what a terminal does with colours and bars, it should do here too
        prompt = {"TERM": "xterm", "PS1": "\\n<<$?>>\\n", "PS2": "", "HISTFILE": ""}
        self._process = subprocess.Popen(
            [*machine.inside, *shell],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**machine.host.environment(), **machine.environment, **prompt},
        )
        os.close(inner)
        self._read(30)
        where, _ = self.type("pwd\n")
        assert where.strip() == str(machine.host.home)

    def type(self, command: str, then: str = "", seconds: float = 60) -> tuple[str, int]:
        """Type a command, and then what it asks for; returns what was on the screen, and its exit code."""
        os.write(self._terminal, command.encode())
        if then:
            time.sleep(0.3)  # as long as it takes to be asked
            os.write(self._terminal, then.encode())
        return self._read(seconds)

    def close(self) -> None:
        """Hang up, which ends what runs there."""
        os.close(self._terminal)
        self._process.wait(30)

    def _read(self, seconds: float) -> tuple[str, int]:
        said, deadline = b"", time.monotonic() + seconds
        while not (end := re.search(rb"\n<<([0-9]+)>>\r?\n$", said)):
            ready, _, _ = select.select([self._terminal], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"it never came to an end, and said: {said.decode()}"
            with contextlib.suppress(OSError):
                said += os.read(self._terminal, 1 << 16)
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said[: end.start()].decode())
        return re.sub(r"[^\n]*\r(?!\n)", "", re.sub(r"\r+\n", "\n", text)), int(end[1])


def _without_echo(descriptor: int) -> None:
    state = termios.tcgetattr(descriptor)
    state[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, state)


@dataclass
class Reader:
    """Somebody who follows a guide. machines: by the names that the guide has for them. values: what the guide writes
    as an example, and what that is here. typed: what is typed when a command waits for it."""

    machines: Mapping[str, Machine]
    values: Mapping[str, str]
    typed: Mapping[str, str] = field(default_factory=dict)
    screens: list[str] = field(default_factory=list)
    _terminals: dict[str, Terminal] = field(default_factory=dict)

    def follow(self, blocks: Sequence[Block]) -> None:
        """Do as these blocks say, and see what they say one sees."""
        for block in blocks:
            if block.unrun:
                continue
            screen, codes = "", []
            for command in commands(block.text):
                shown, code = self._type(block.place, command)
                screen += shown
                codes.append(code)
            self.screens.append(f"{block.where}\n{block.text}\n--- {codes}\n{screen}\n")
            assert codes == [0] * (len(codes) - 1) + [block.code], "".join(self.screens[-3:])
            missing = unseen([self._here(line) for line in block.sees], screen)
            assert not missing, f"{missing!r} is not seen\n{self.screens[-1]}"

    def _type(self, place: str, command: str) -> tuple[str, int]:
        if place not in self._terminals:
            self._terminals[place] = Terminal(self.machines[place])
        return self._terminals[place].type(self._here(command), self._here(self.typed.get(command.strip(), "")))

    def _here(self, text: str) -> str:
        for example, value in self.values.items():
            text = text.replace(example, value)
        return text

    def close(self) -> None:
        """Leave all terminals."""
        for terminal in self._terminals.values():
            terminal.close()
