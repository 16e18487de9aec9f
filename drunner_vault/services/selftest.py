"""A service's own word on whether it is well: its command `selftest`, which some services have."""

from __future__ import annotations

import re

_LABEL = r"""(?m)^[ \t]*\(?[ \t]*(?:[\w"'-]+[ \t]*\|[ \t]*)*["']?%s["']?[ \t]*(?:\|[^)\n]*)?\)"""


def has_selftest(servicerunner: bytes) -> bool:
    """Whether the script has a branch for `selftest`, as in `start | selftest)`. A script that has none answers with
    its help text and an error, which says nothing about the service."""
    return has_command(servicerunner, "selftest")


def has_command(servicerunner: bytes, name: str) -> bool:
    """Whether the script has a branch for this command, as in `start | NAME)`."""
    code = re.sub(r"(?m)^[ \t]*#.*$", "", servicerunner.decode("utf-8", "replace"))
    return re.search(_LABEL % re.escape(name), code) is not None
