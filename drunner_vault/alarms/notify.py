"""Messages to people, by whatever Apprise can reach them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from enum import Enum
from types import ModuleType


class Tone(Enum):
    """What kind of message it is; many services show it as a colour or a sign."""

    BAD = "failure"
    GOOD = "success"


def send(title: str, body: str, urls: Sequence[str], tone: Tone) -> list[str]:
    """Send a message to each URL; returns what went wrong, a sentence each without any secret. Never raises for it."""
    apprise = _apprise()
    return [problem for url in urls if (problem := _send_one(apprise, title, body, url, tone))]


def check_urls(urls: Sequence[str]) -> list[str]:
    """What is wrong with URLs, as far as that shows without calling anybody: a sentence each, without any secret."""
    apprise = _apprise()
    return [
        f"notification {number} of {len(urls)} has a URL that Apprise does not understand"
        for number, url in enumerate(urls, 1)
        if not _quietly_added(apprise, apprise.Apprise(), url)
    ]


def _apprise() -> ModuleType:
    with warnings.catch_warnings():
        # it looks for what newer Pythons have dropped, which older ones warn of
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        apprise.Apprise.instantiate("json://localhost")  # its services are loaded when the first URL is read
    return apprise


def _quietly_added(apprise: ModuleType, target: object, url: str) -> bool:
    with apprise.LogCapture(level=logging.CRITICAL):
        return bool(target.add(url))  # type: ignore[attr-defined]


def _send_one(apprise: ModuleType, title: str, body: str, url: str, tone: Tone) -> str:
    target = apprise.Apprise()
    scheme = url.partition(":")[0]
    if not _quietly_added(apprise, target, url):
        return f"{scheme}: Apprise does not understand this URL"
    try:
        with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as log:
            sent = target.notify(title=title, body=body, notify_type=tone.value, body_format=apprise.NotifyFormat.TEXT)
            said = log.getvalue().strip().splitlines()
    except Exception as error:  # a service's own module may fail as it likes; that must not fail a backup
        return f"{scheme}: {type(error).__name__}"
    if sent:
        return ""
    return f"{scheme}: {said[-1].replace(url, scheme)[:200] if said else 'it could not be sent'}"
