"""Where a bucket is, and how things are to be stored there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from drunner_vault.errors import BadUsage
from drunner_vault.stores.s3.parts import LARGEST_PART, SMALLEST_PART
from drunner_vault.stores.store import check_key

_LOCKS = ("governance", "compliance")
_ENCRYPTIONS = ("AES256", "aws:kms")
_SIZE = re.compile(r"(\d+) ?([KMG]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30}
_TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True)
class S3Options:
    """Where a bucket is, and how things are to be stored there. Raises BadUsage for values that cannot be meant.

    Keys, and whatever is None here, come from where all programs for S3 look: AWS_… variables, ~/.aws, the instance.

    prefix: the directory that is the store's root. endpoint: URL of the server, None for Amazon's. path_style: whether
    the bucket stands in the URL's path; None: at any endpoint but Amazon's. encryption: by the server, AES256 or
    aws:kms. lock: the mode of Object Lock, governance or compliance; None: nothing can be locked. part_size: bytes of
    each part but the last, for servers that want all of one size; None: they grow. in_flight: parts on their way at the
    same time. timeout: seconds without an answer. attempts: how often a request is made until it is given up.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    path_style: bool | None = None
    storage_class: str | None = None
    encryption: str | None = None
    kms_key: str | None = None
    lock: str | None = None
    part_size: int | None = None
    in_flight: int = 3
    timeout: float = 60
    attempts: int = 8

    def __post_init__(self) -> None:
        if self.prefix:
            check_key(self.prefix)
        if self.lock not in (None, *_LOCKS):
            raise BadUsage(f"there is no lock mode {self.lock}", f"use one of {', '.join(_LOCKS)}")
        if self.encryption not in (None, *_ENCRYPTIONS):
            raise BadUsage(f"there is no encryption {self.encryption} in S3", f"use one of {', '.join(_ENCRYPTIONS)}")
        if self.part_size is not None and not SMALLEST_PART <= self.part_size <= LARGEST_PART:
            raise BadUsage(f"parts cannot have {self.part_size} bytes", "choose part_size from 5 MiB to 5 GiB")
        if self.in_flight < 1 or self.attempts < 1 or self.timeout <= 0:
            raise BadUsage("in_flight, attempts and timeout must be more than 0", "correct them")

    @property
    def name(self) -> str:
        """The store as a person writes it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def parse_s3_options(bucket: str, prefix: str, texts: Mapping[str, str]) -> S3Options:
    """The options as a URL's query or the settings have them. texts: fields of S3Options to what a person wrote: sizes
    as 64MiB, truths as yes and no. Raises BadUsage."""
    return S3Options(bucket, prefix, **{name: _value(name, text) for name, text in texts.items()})


def _value(name: str, text: str) -> Any:
    try:
        return _READERS.get(name, str)(text)
    except (KeyError, ValueError) as cause:
        raise BadUsage(f"{name} cannot be {text!r}", f"as in: {name}={_EXAMPLES[name]}") from cause


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return int(match[1]) << _UNITS[match[2].upper()]


_READERS: Mapping[str, Callable[[str], Any]] = {
    "path_style": lambda text: _TRUTHS[text.lower()],
    "part_size": _size,
    "in_flight": int,
    "timeout": float,
    "attempts": int,
}
_EXAMPLES = {"path_style": "yes", "part_size": "64MiB", "in_flight": "3", "timeout": "60", "attempts": "8"}
