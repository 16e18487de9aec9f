"""Seeing to it that a service runs that came from elsewhere, and asking it whether it is well."""

from __future__ import annotations

import time

from drunner_vault.errors import HookFailed
from drunner_vault.services.home import ServiceHome
from drunner_vault.services.hooks import HookResult, run_hook
from drunner_vault.services.names import volume_names
from drunner_vault.services.selftest import has_command, has_selftest
from drunner_vault.workflows.host import ServiceHost, last_words

_SELFTEST, _START = "selftest", "start"
_LIMIT = 600.0  # seconds
_PATIENCE = 60.0  # seconds that a service which runs may take to come up
_PAUSE = 1.0
_FINE = (0, 3)  # 3: it was running already


def is_running(host: ServiceHost, home: ServiceHome) -> bool:
    """Whether any container of the service runs."""
    return host.engine.containers.running(list(volume_names(home.name, home.config().volumes)), home.name)


def start_unless_running(host: ServiceHost, home: ServiceHome) -> bool:
    """Start a service that runs where it came from, and that being restored has not started; whether that was needed.

    Nothing happens to one that has no command `start`. Raises HookFailed.
    """
    if is_running(host, home) or not has_command(home.servicerunner.read_bytes(), _START):
        return False
    result = _give(host, home, _START)
    if result.code not in _FINE:
        raise _failed(home, _START, result, f"{home.name} cannot be started: it ended")
    return True


def require_well(host: ServiceHost, home: ServiceHome) -> bool:
    """Whether the service has said that it is well; False if it has no selftest, and so cannot tell.

    One that is still coming up is asked again. Raises HookFailed if it is not well, or does not say in time.
    """
    if not has_selftest(home.servicerunner.read_bytes()):
        return False
    last = host.clock.monotonic() + _PATIENCE
    while (result := _give(host, home, _SELFTEST)).code:
        if host.clock.monotonic() > last or not is_running(host, home):
            raise _failed(home, _SELFTEST, result, f"{home.name} says that it is not well,")
        time.sleep(_PAUSE)
    return True


def _give(host: ServiceHost, home: ServiceHome, command: str) -> HookResult:
    arguments = [str(home.servicerunner), command]
    return run_hook(arguments, env=host.hook_environment(), relay=host.hook_output, timeout=_LIMIT)


def _failed(home: ServiceHome, command: str, result: HookResult, what: str) -> HookFailed:
    return HookFailed(
        f"{what} with exit code {result.code}{last_words(result.output)}",
        f"look at what it says: {home.name} {command}",
        hook=command,
        code=result.code,
        output=result.output,
    )
