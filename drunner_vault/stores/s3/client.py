"""Requests to one bucket: each is repeated while that may help, and fails with this program's errors only."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from drunner_vault import __version__
from drunner_vault.clock import Clock
from drunner_vault.errors import BadUsage, Unavailable
from drunner_vault.stores.s3.errors import Garbled, Place, mapped
from drunner_vault.stores.s3.options import S3Options

_CONNECT_SECONDS = 10
_LONGEST_DELAY = 20.0
_SPARE_CONNECTIONS = 8  # for what other threads do besides an upload

Answer = Mapping[str, Any]
_T = TypeVar("_T")


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row: up to 1, 2, 4, …, 20, at random, so that not all come back at
    the same moment."""
    return random.uniform(0, min(_LONGEST_DELAY, 2.0 ** (failures - 1)))  # noqa: S311 (no secret)


class Client:
    """One bucket's server. May be used from several threads. delay: seconds to wait after the n-th failure."""

    def __init__(self, options: S3Options, clock: Clock, delay: Callable[[int], float]) -> None:
        self._options = options
        self._clock = clock
        self._delay = delay
        self._client = _connect(options)
        url = urlsplit(self._client.meta.endpoint_url)
        self.host = url.hostname or ""
        shown = f"{url.scheme}://{self.host}" + (f":{url.port}" if url.port else "")
        self.place = Place(options.name, options.bucket, shown, self._client.meta.region_name)

    def call(self, operation: str, key: str = "", attempts: int | None = None, **more: Any) -> Answer:
        """Make a request, again while it is Unavailable. key: relative to the store. more: parameters of boto3's."""
        return self.repeat(lambda: self.once(operation, key, **more), attempts=attempts)

    def once(self, operation: str, key: str = "", **more: Any) -> Answer:
        """Make a request. Raises what `mapped` tells."""
        if key:
            more["Key"] = self.full_key(key)
        with self.mapped(operation, key):
            return getattr(self._client, xform_name(operation))(Bucket=self._options.bucket, **more)  # type: ignore[no-any-return]

    def once_with(self, field: str, operation: str, key: str = "", **more: Any) -> Answer:
        """Make a request once whose answer always has this field. Raises Garbled if it has not."""
        answer = self.once(operation, key, **more)
        text = str(answer.get(field, ""))
        if not text or text.startswith('"') != text.endswith('"'):
            raise self.place.garbled()
        return answer

    def mapped(self, operation: str, key: str) -> AbstractContextManager[None]:
        """Turns what is raised while an answer is read into our errors."""
        return mapped(operation, self.place, key, self._clock)

    def repeat(self, action: Callable[[], _T], stop: threading.Event | None = None, attempts: int | None = None) -> _T:
        """Do something until it is not Unavailable, or has been `attempts` times, or `stop` is set."""
        last = min(attempts or self._options.attempts, self._options.attempts)
        for attempt in range(1, last):
            try:
                return action()
            except Unavailable:
                if _wait(self._delay(attempt), stop):
                    raise
        try:
            return action()
        except Garbled as cause:
            raise self.place.not_s3() from cause

    def pages(self, operation: str, carried: Mapping[str, str], key: str = "", **more: Any) -> Iterator[Answer]:
        """All pages of a listing. carried: which field of a page becomes which parameter for the next one."""
        name = "Name" if operation == "ListObjectsV2" else "Bucket"
        while True:
            asked = dict(more)
            page = self.repeat(lambda: self.once_with(name, operation, key, **asked))  # noqa: B023 (called at once)
            yield page
            if not page.get("IsTruncated"):
                return
            following = {parameter: page[told] for told, parameter in carried.items() if page.get(told)}
            if not following or following.items() <= more.items():
                raise self.place.not_s3()  # it would go round for ever
            more |= following

    def full_key(self, key: str) -> str:
        """A key in the bucket for one in the store; with an empty one, what all keys of the store begin with."""
        return f"{self._options.prefix}/{key}" if self._options.prefix else key


def _wait(seconds: float, stop: threading.Event | None) -> bool:
    """Wait, unless `stop` is set; returns whether it is."""
    if stop is not None:
        return stop.wait(seconds)
    time.sleep(seconds)
    return False


def _connect(options: S3Options) -> Any:
    """boto3's client. Raises BadUsage for a profile, region or endpoint that cannot be."""
    try:
        session = boto3.session.Session(profile_name=options.profile, region_name=options.region)
        client = session.client("s3", endpoint_url=options.endpoint, config=_config(options))
    except (BotoCoreError, ValueError) as cause:
        hint = "check endpoint, region and profile, and ~/.aws/config"
        raise BadUsage(f"cannot use {options.name}: {' '.join(str(cause).split())}", hint) from cause
    client.meta.events.register("before-call.s3.PutObjectRetention", _send_md5)
    return client


def _config(options: S3Options) -> Config:
    style = {} if options.path_style is None else {"addressing_style": "path" if options.path_style else "virtual"}
    return Config(
        signature_version="s3v4",
        connect_timeout=min(_CONNECT_SECONDS, options.timeout),
        read_timeout=options.timeout,
        max_pool_connections=options.in_flight + _SPARE_CONNECTIONS,
        tcp_keepalive=True,
        user_agent_extra=f"drunner-vault/{__version__}",
        # Content-MD5 is understood everywhere; what botocore would send by itself is refused by many servers
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # we repeat requests ourselves: a part that is being given up must not be waited for
        retries={"mode": "standard", "total_max_attempts": 1},
        s3=style,
    )


def _send_md5(params: dict[str, Any], **_event: object) -> None:
    """Content-MD5, as others have it, for the one request that must have a checksum and whose body botocore makes."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"].pop("x-amz-sdk-checksum-algorithm", None)
    params["headers"]["Content-MD5"] = b64encode(digest).decode()
    params["context"].pop("checksum", None)
