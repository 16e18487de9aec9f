"""Telling a check, as Healthchecks and others have it, that a job has started, succeeded or failed."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from enum import Enum
from http.client import HTTPException
from urllib.parse import urlsplit, urlunsplit

_TRIES = 3
_TIMEOUT = 10.0  # seconds for one try; a job must not wait long for those who only watch it
_WAIT = 1.0
_LONGEST = 100_000  # bytes of log: Healthchecks keeps no more


class Ping(Enum):
    """What has become of the job: what follows the check's URL."""

    START = "/start"
    SUCCESS = ""
    FAIL = "/fail"


def is_check(url: str) -> bool:
    """Whether this may be the URL of a check, as far as that shows without calling anybody."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname)


def ping(url: str, event: Ping, log: str = "", sleep: Callable[[float], None] = time.sleep) -> str:
    """Tell the check at `url`, with the end of a log; returns what went wrong, empty if nothing did.

    Never raises for what the network does. The answer names the host only: the rest of the URL is a secret.
    """
    if not is_check(url):
        return "the check could not be told: its URL is none"
    host = urlsplit(url).hostname
    problem = ""
    for attempt in range(1 if event is Ping.START else _TRIES):  # nobody should wait before the work has begun
        if attempt:
            sleep(_WAIT * attempt)
        problem, again = _once(_address(url, event), log)
        if not problem:
            return ""
        if not again:
            break
    return f"the check at {host} could not be told: {problem}"


def _address(url: str, event: Ping) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + event.value))


def _once(address: str, log: str) -> tuple[str, bool]:
    """What went wrong, and whether it may go well another time."""
    body = log.encode("utf-8", "replace")[-_LONGEST:]
    headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "drunner-vault"}
    try:
        request = urllib.request.Request(address, body, headers, method="POST")  # noqa: S310 (checked by the settings)
        with urllib.request.urlopen(request, timeout=_TIMEOUT):  # noqa: S310
            return "", False
    except urllib.error.HTTPError as error:
        with error:
            return f"it answers {error.code} {error.reason}", error.code >= 500 or error.code == 429
    except urllib.error.URLError as error:
        return str(error.reason), True
    except (OSError, HTTPException) as error:
        return str(error) or type(error).__name__, True
    except ValueError:
        return "its URL is none", False
