"""The Docker engine: how it is reached, and how its errors become ours. One place for every call's failure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import docker
import requests
from docker import errors as docker_errors

from drunner_vault.errors import EngineDown, EngineError, NoSpace

_START = "start Docker (systemctl start docker), or set DOCKER_HOST to where it listens"
_OVER_SSH = (
    "see that ssh logs in there unasked, and that docker-py has what that takes (pip install 'docker[ssh]'); or "
    "forward its socket (ssh -NL /run/far.sock:/var/run/docker.sock HOST) and set DOCKER_HOST=unix:///run/far.sock"
)
_PATIENCE = 3600  # seconds without a byte from the engine; saving and loading images can be that slow


def connect(environment: Mapping[str, str]) -> docker.DockerClient:
    """A client for the engine that DOCKER_HOST (and DOCKER_TLS_VERIFY, DOCKER_CERT_PATH) name, API version negotiated.

    Raises EngineDown if none answers.
    """
    where = environment.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    try:
        options = {"use_ssh_client": True} if where.startswith("ssh://") else {}
        return docker.DockerClient.from_env(version="auto", timeout=_PATIENCE, environment=dict(environment), **options)
    except (docker_errors.DockerException, requests.RequestException, OSError, ValueError) as cause:
        raise EngineDown(
            f"no Docker engine answers at {where}: {_reason(cause)}",
            _OVER_SSH if where.startswith("ssh://") else _START,
        ) from cause


@contextlib.contextmanager
def engine_errors(action: str, hint: str = "") -> Iterator[None]:
    """Turn what docker-py raises inside the block into EngineError: `cannot {action}: reason`."""
    try:
        yield
    except docker_errors.APIError as cause:
        reason = _reason(cause)
        if "no space left on device" in reason:
            raise NoSpace(f"cannot {action}: {reason}", "free some space where Docker keeps its data") from cause
        raise EngineError(f"cannot {action}: {reason}", hint or "see the Docker engine's log") from cause
    except (requests.RequestException, docker_errors.DockerException) as cause:
        raise EngineDown(
            f"cannot {action}: the Docker engine broke off: {_reason(cause)}",
            "check that Docker is running, and try again",
        ) from cause


def _reason(cause: BaseException) -> str:
    """The engine's own words, or the system's where there is no engine, on one line."""
    text = getattr(cause, "explanation", None) or _system_error(cause) or str(cause) or type(cause).__name__
    return " ".join(str(text).split())


def _system_error(cause: BaseException | None) -> str:
    """What the system said, below all that libraries have put around it; empty if it did not."""
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return ""
