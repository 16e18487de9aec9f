"""S3 servers on free ports of the loopback, ended with the test: moto, which has nearly all of S3 in memory, and
`rclone serve s3`, another implementation with another's habits, on a directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from botocore.config import Config

from drunner_vault.stores.s3.options import S3Options
from drunner_vault.stores.s3.store import S3Store

ACCESS_KEY, SECRET_KEY = "KEYOFTHETESTS", "secret of the tests"
REGION = "us-east-1"
_START_SECONDS = 60


def credentials(access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY) -> dict[str, str]:
    """What a program finds in its environment; nothing of the machine's own settings is looked at beside it."""
    return {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }


@dataclass(frozen=True)
class Server:
    """A running server. endpoint: its URL."""

    endpoint: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.endpoint.removeprefix("http://").partition(":")
        return host, int(port)

    def client(self, service: str = "s3", keys: Mapping[str, str] | None = None) -> Any:
        """A client of boto3's own, for tests that look behind the store."""
        keys = keys or credentials()
        return _client(self.endpoint, service, keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])

    def bucket(self, name: str, *, lockable: bool = False) -> Bucket:
        """Make a bucket."""
        self.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=lockable)
        return Bucket(self, name)


@dataclass(frozen=True)
class Bucket:
    """A bucket as its server sees it."""

    server: Server
    name: str
    notices: list[str] = field(default_factory=list)

    def store(self, *, keys: Mapping[str, str] | None = None, endpoint: str = "", **options: Any) -> S3Store:
        """A store in it that does not wait between attempts. What it gives notice of is added to `notices`."""
        chosen = S3Options(self.name, endpoint=endpoint or self.server.endpoint, **{"attempts": 3, **options})
        return self.store_with(chosen, keys)

    def store_with(
        self, options: S3Options, keys: Mapping[str, str] | None = None, delay: Callable[[int], float] = lambda _: 0.0
    ) -> S3Store:
        """A store with all that can be chosen."""
        with mock.patch.dict(os.environ, keys or credentials()):
            return S3Store(options, notice=self.notices.append, delay=delay)

    def objects(self) -> dict[str, bytes]:
        """All objects with their content."""
        client = self.server.client()
        listed = client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        keys = [item["Key"] for page in listed for item in page.get("Contents", ())]
        return {key: client.get_object(Bucket=self.name, Key=key)["Body"].read() for key in keys}

    def versions(self) -> list[str]:
        """The keys of all versions of all objects, and of all marks that one was deleted."""
        found = self.server.client().list_object_versions(Bucket=self.name)
        return sorted(item["Key"] for kind in ("Versions", "DeleteMarkers") for item in found.get(kind, ()))

    def uploads(self) -> list[str]:
        """The keys of all multipart uploads that have not ended."""
        found = self.server.client().list_multipart_uploads(Bucket=self.name)
        return sorted(item["Key"] for item in found.get("Uploads", ()))


@cache
def _client(endpoint: str, service: str, access_key: str, secret_key: str) -> Any:
    config = Config(
        request_checksum_calculation="when_required", response_checksum_validation="when_required", proxies={}
    )
    return boto3.session.Session(access_key, secret_key, region_name=REGION).client(
        service, endpoint_url=endpoint, config=config
    )


def rclone() -> str:
    """The path of rclone, beside the interpreter or on PATH; empty if there is none."""
    return shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}") or ""


def rclone_environment(server: Server) -> dict[str, str]:
    """What rclone as a client needs to know of a server, for addresses that begin with `:s3:`."""
    return {
        "RCLONE_S3_PROVIDER": "Rclone",
        "RCLONE_S3_ENDPOINT": server.endpoint,
        "RCLONE_S3_ACCESS_KEY_ID": ACCESS_KEY,
        "RCLONE_S3_SECRET_ACCESS_KEY": SECRET_KEY,
    }


def missing_parts() -> str:
    """Why `rclone_server` cannot be used here, or an empty string."""
    return "" if rclone() else "not installed: rclone (try: make setup)"


@contextlib.contextmanager
def moto_server(**environment: str) -> Iterator[Server]:
    """A moto server with an environment of its own. It keeps all it is given in memory."""
    port = free_port()
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, environment):
        yield Server(f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def rclone_server(directory: Path) -> Iterator[Server]:
    """rclone on a directory, in which each bucket is a directory."""
    port = free_port()
    options = ["--config", "", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--addr", f"127.0.0.1:{port}"]
    with _running(
        [rclone(), "serve", "s3", *options, str(directory)], port, {"RCLONE_CACHE_DIR": f"{directory}-cache"}
    ):
        yield Server(f"http://127.0.0.1:{port}")


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        _wait_until_listening(process, port)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start listening on port {port}")
        time.sleep(0.05)
