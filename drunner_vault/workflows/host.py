"""The host that services live on, as the workflows see it; and the right to change one service on it."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from drunner_vault.clock import SYSTEM_CLOCK, Clock
from drunner_vault.durable import make_directory, storage_error
from drunner_vault.errors import HookFailed
from drunner_vault.services.config_sh import HostConfig
from drunner_vault.services.dialect import Event
from drunner_vault.services.home import ServiceHome
from drunner_vault.services.hooks import HookResult, hook_environment, run_hook

if TYPE_CHECKING:
    from drunner_vault.engine.engine import Engine  # importing it takes longer than listing services

SERVICE_LABEL = "drunner-vault.service"
PATH_LABEL = "drunner-vault.path"

_CONTROL_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")  # colours, titles


@dataclass(frozen=True)
class HookTerms:
    """How hooks are run, where that is not as usual. prefix: what starts them. timeout: seconds that each may take.
    terminal: as run_hook has it."""

    prefix: tuple[str, ...] = ()
    timeout: float | None = None
    terminal: bool | None = None


@dataclass
class ServiceHost:
    """Where services are, and what runs them.

    connect: gives the engine, called once, when it is first needed. notice: told, a line each, what a person should
    know while work goes on. hook_output: gets what hooks print when they have no real terminal; None keeps it for
    error messages. path_dirs: put first in the PATH of hooks, so that they find `drunner` and the launchers.
    """

    root: Path
    bin_dir: Path
    environment: Mapping[str, str]
    connect: Callable[[], Engine]
    notice: Callable[[str], None]
    config: HostConfig = field(default_factory=HostConfig)
    clock: Clock = SYSTEM_CLOCK
    hook_output: BinaryIO | None = None
    path_dirs: tuple[Path, ...] = ()
    terms: HookTerms = field(default_factory=HookTerms)

    @cached_property
    def engine(self) -> Engine:
        """The engine, connected. Raises EngineDown."""
        return self.connect()

    def home(self, name: str) -> ServiceHome:
        """The directory of a service, installed or not. Raises BadServiceName."""
        return ServiceHome(self.root, name)

    def hook_environment(self) -> dict[str, str]:
        """What hooks find in their environment: the caller's, without keys."""
        return hook_environment(self.environment, self.path_dirs)

    def run(self, home: ServiceHome, *arguments: str) -> HookResult:
        """Run the service's script as hooks are run. Raises HookFailed if it cannot be started, or takes too long."""
        return run_hook(
            [str(home.servicerunner), *arguments],
            env=self.hook_environment(),
            relay=self.hook_output,
            terminal=self.terms.terminal,
            prefix=self.terms.prefix,
            timeout=self.terms.timeout,
        )

    def call_hook(self, home: ServiceHome, event: Event, *arguments: str) -> None:
        """Call the service's hook for an event, if its dialect has one. Raises HookFailed."""
        dialect = home.dialect()
        hook = dialect.hook(event)
        if hook is None:
            return
        result = self.run(home, hook, *arguments)
        if dialect.succeeded(event, result.code):
            return
        raise HookFailed(
            f"the {hook} hook of {home.name} failed with exit code {result.code}{last_words(result.output)}",
            f"look at {home.servicerunner}, mend what it complains of, and try again",
            hook=hook,
            code=result.code,
            output=result.output,
        )

    @contextlib.contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """A directory that a hook and its containers may write to, hidden from others inside a closed one."""
        try:
            parent = self.root / "tmp"
            make_directory(parent)
            closed = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=parent))
            inner = closed / "hook"
            inner.mkdir()
            inner.chmod(0o777)
        except OSError as cause:
            raise storage_error("make a working directory in", self.root, cause) from cause
        try:
            yield inner
        finally:
            shutil.rmtree(closed, ignore_errors=True)
            with contextlib.suppress(OSError):
                parent.rmdir()


def last_words(output: str) -> str:
    """The last line that a hook printed, to be put behind an error's message; empty if it said nothing."""
    last = _CONTROL_SEQUENCE.sub("", output).strip().splitlines()[-1:] or [""]
    return f': it says "{last[0].strip()[:200]}"' if last[0] else ""
