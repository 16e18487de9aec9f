"""A backup to S3 that is stopped, or killed, in the middle of its upload."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import s3servers
from support.engines import Host
from support.keeper import Key, calls, install_keeper, make_key, volume_directory, wait_until
from support.s3servers import Bucket

WAITING = "backupend"  # the hook at which the volumes are read, and the upload still goes on


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with s3servers.moto_server() as server:
        yield server.bucket("backups")


@pytest.fixture
def env(bucket: Bucket, tmp_path: Path) -> dict[str, str]:
    login = s3servers.credentials() | {"AWS_ENDPOINT_URL": bucket.server.endpoint}
    return login | {"KEEPER_LOG": str(tmp_path / "log"), "KEEPER_WAIT": WAITING}


@pytest.fixture
def uploading(host: Host, bucket: Bucket, env: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A backup some of whose parts are in the bucket, and which waits for its hook."""
    install_keeper(host)
    (volume_directory(host, "keeper") / "large").write_bytes(random.Random(1).randbytes(24 << 20))
    key = make_key(tmp_path)
    arguments = ["drunner", "backup", "keeper", "s3://backups/x", "-r", key.recipient]
    command = subprocess.Popen(
        host.command(*arguments, in_netns=False),
        env=host.environment() | env,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=host.home,
    )
    wait_until(lambda: bucket.uploads() and WAITING in calls(tmp_path / "log"))
    yield command
    if command.poll() is None:
        command.kill()
    command.communicate()


def go_on(tmp_path: Path) -> None:
    (tmp_path / "log.go").touch()


def archived(host: Host, env: dict[str, str]) -> list[dict[str, object]]:
    done = host.drunner("archives", "s3://backups/x", "--json", env=env, in_netns=False)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_one_that_is_told_to_stop_takes_its_upload_back(
    host: Host, bucket: Bucket, env: dict[str, str], uploading: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    os.kill(uploading.pid, signal.SIGTERM)
    go_on(tmp_path)
    assert uploading.wait(60) == 130
    assert bucket.uploads() == []
    assert bucket.objects() == {}
    assert archived(host, env) == []


def test_what_one_that_was_killed_left_is_removed_by_the_next_prune(
    host: Host, bucket: Bucket, env: dict[str, str], uploading: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    (key,) = bucket.uploads()
    busy = host.drunner("prune", "s3://backups/x", "--keep-last", "1", "--apply", env=env, in_netns=False, check=False)
    assert busy.returncode == 3  # the backup is alive: nothing of it is touched
    assert bucket.uploads() == [key]
    uploading.kill()
    uploading.wait(60)
    go_on(tmp_path)
    assert archived(host, env) == []
    preview = host.drunner("prune", "s3://backups/x", "--keep-last", "1", env=env, in_netns=False)
    assert "a dead upload" in preview.stdout
    host.drunner("prune", "s3://backups/x", "--keep-last", "1", "--apply", env=env, in_netns=False)
    assert bucket.uploads() == []


def test_what_one_that_was_killed_left_is_removed_by_the_next_backup(
    host: Host, bucket: Bucket, env: dict[str, str], uploading: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    uploading.kill()
    uploading.wait(60)
    go_on(tmp_path)
    key: Key = make_key(tmp_path, "other.txt")
    done = host.drunner("backup", "keeper", "s3://backups/x", "-r", key.recipient, env=env, in_netns=False)
    assert "killed" in done.stderr
    assert bucket.uploads() == []
    (item,) = archived(host, env)
    assert item["complete"]
