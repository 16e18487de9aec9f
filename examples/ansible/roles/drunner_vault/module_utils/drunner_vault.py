"""What the modules of drunner-vault share: they call the program, which is the only one that knows how to do anything.

Every command answers with one JSON document. Its exit code tells the rest: 0 done, 1 error, 3 nothing to change.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

NO_CHANGE = 3
PROGRAM_OPTION = {"program": {"type": "path", "default": "drunner-vault"}}

_PLACES = ["/usr/local/bin", "/opt/drunner-vault/bin"]  # sudo may not look there
_WARNINGS = ("warning: ", "notice: ")


@dataclass(frozen=True)
class Ended:
    """A command that has ended. document: what it printed, None if that was nothing. log: its stderr."""

    code: int
    document: Any
    log: str

    @property
    def error(self) -> dict[str, Any]:
        """The error it ended with: message, hint, kind and code; empty if it ended with none."""
        return self.document.get("error", {}) if isinstance(self.document, dict) else {}

    @property
    def message(self) -> str:
        """What went wrong and what to do next, in the program's words."""
        if self.error:
            return ". ".join(part for part in (self.error["message"], self.error["hint"]) if part)
        lines = [line for line in self.log.splitlines() if not line.startswith(_WARNINGS)]
        return " ".join(lines) or f"drunner-vault exited {self.code}"


class Program:
    """The installed program, as a module calls it."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self._path = module.get_bin_path(module.params["program"], opt_dirs=_PLACES)
        if self._path is None and not module.check_mode:
            module.fail_json(
                msg=f"{module.params['program']} is not installed here; the role drunner_vault installs it"
            )

    @property
    def is_installed(self) -> bool:
        """False only in check mode, on a host that would have got it by now."""
        return self._path is not None

    def call(
        self,
        command: str,
        positional: Sequence[str] = (),
        options: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> Ended:
        """Run a command to its end, whatever that is. positional may hold anything; it is never taken for options."""
        words = [self._path, *command.split(), *options, "--json", "--", *positional]
        code, out, err = self.module.run_command(words, environ_update=environment)
        return Ended(code, _last_document(out), err)

    def ask(self, command: str, positional: Sequence[str] = (), options: Sequence[str] = ()) -> Any:
        """What a command that changes nothing has to say. Fails the task if it cannot."""
        ended = self.call(command, positional, options)
        if ended.code:
            self.fail(ended)
        return ended.document

    def change(
        self,
        command: str,
        positional: Sequence[str] = (),
        options: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        """Run a command that changes something, and end the task by what it says."""
        ended = self.call(command, positional, options, environment)
        if ended.code not in (0, NO_CHANGE):
            self.fail(ended)
        self._pass_on_warnings(ended)
        if ended.code == NO_CHANGE:
            self.module.exit_json(changed=False, msg=ended.message, result={})
        self.module.exit_json(changed=True, result=ended.document)

    def fail(self, ended: Ended) -> None:
        """End the task with the program's own message. Never returns."""
        result = None if ended.error else ended.document
        self._pass_on_warnings(ended)
        self.module.fail_json(msg=ended.message, error=ended.error, result=result, rc=ended.code, stderr=ended.log)

    def services(self) -> dict[str, dict[str, Any]]:
        """The services that are installed, by name. Docker is not asked."""
        return {service["name"]: service for service in self.ask("list")} if self.is_installed else {}

    def _pass_on_warnings(self, ended: Ended) -> None:
        for line in ended.log.splitlines():
            if line.startswith(_WARNINGS):
                self.module.warn(line.split(": ", 1)[1])


def flags(params: dict[str, Any], *names: str) -> list[str]:
    """Parameters as options of the same names: a truth is a flag, a list is an option several times."""
    words: list[str] = []
    for name in names:
        option, value = f"--{name.replace('_', '-')}", params[name]
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [word for item in value for word in (option, str(item))]
        elif value not in (None, False):
            words += [option, str(value)]
    return words


@contextmanager
def secret_file(module: AnsibleModule, content: str | None) -> Iterator[list[str]]:
    """The path of a file with this content that only we can read, gone at the end; nothing if there is no content."""
    if not content:
        yield []
        return
    with NamedTemporaryFile("w", dir=module.tmpdir, prefix="identity-") as stream:  # mode 0600
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        yield [stream.name]


def _last_document(out: str) -> Any:
    """What a command printed: one document, or an object a line, of which the last is its result."""
    for text in (out, out.strip().rpartition("\n")[2]):
        try:
            return json.loads(text)
        except ValueError:
            continue
    return None
