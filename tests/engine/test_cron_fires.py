"""A night, and what follows, with nobody there: Debian's cron starts what `schedule install` has written."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import require
from support import s3servers
from support.crons import cron, missing_cron
from support.engines import Completed, Host
from support.keeper import install_keeper, make_key, processes_with, wait_until
from support.listeners import Listener, listening
from support.s3servers import Bucket, Server

SETTINGS = """\
recipients = ["{recipient}"]
environment_file = "{directory}/vault.env"
metrics = "{directory}/vault.prom"

[stores.bucket]
url = "s3://backups/production?attempts=1"
[stores.bucket.retention]
keep_last = 1

[notifications.ops]
urls = ["{alarms}"]

[jobs.nightly]
store = "bucket"
schedule = "* * * * *"
images = "never"
ping = "{ping}"
"""
A_MINUTE_AND_SOME = 90


class Unattended:
    """A host with a service and a bucket. Nobody calls `run` or `backup`."""

    def __init__(self, host: Host, directory: Path, server: Server, listener: Listener) -> None:
        self.host, self.directory, self.server, self.listener = host, directory, server, listener
        install_keeper(host)
        login = s3servers.credentials() | {"AWS_ENDPOINT_URL": server.endpoint}
        (directory / "vault.env").write_text("".join(f"{name}={value}\n" for name, value in login.items()))
        (directory / "cron.d").mkdir()
        host.config_dir.mkdir(exist_ok=True)
        text = SETTINGS.format(
            recipient=make_key(directory).recipient,
            directory=directory,
            alarms=listener.apprise(),
            ping=f"{listener.url}/check",
        )
        (host.config_dir / "vault.toml").write_text(text)

    def call(self, *arguments: str) -> Completed:
        return self.host.drunner(*arguments, check=False, in_netns=False)

    def archives(self) -> list[str]:
        return [item["key"] for item in json.loads(self.call("archives", "bucket", "--json").stdout)]

    def settle(self) -> None:
        """What cron has started comes to its end."""
        wait_until(lambda: not processes_with("run nightly --scheduled"))

    def fire(self, until: Callable[[], object]) -> None:
        """The machine is started again, two hours later, and cron makes up for what was missed."""
        path = self.host.root / "vault/history.jsonl"
        path.write_text("".join(_earlier(line) for line in path.read_text().splitlines()))
        with cron(self.directory / "cron.d"):
            wait_until(until)
            self.settle()


def _earlier(line: str) -> str:
    run = json.loads(line)
    started = dt.datetime.fromisoformat(run["started"]) - dt.timedelta(hours=2)
    return json.dumps(run | {"started": f"{started:%Y-%m-%dT%H:%M:%SZ}"}) + "\n"


@pytest.fixture
def unattended(host: Host, tmp_path: Path) -> Iterator[Unattended]:
    require(missing_cron())
    with s3servers.moto_server() as server, listening() as listener:
        server.bucket("backups")
        yield Unattended(host, tmp_path, server, listener)


def test_cron_backs_up_prunes_and_tells_and_a_broken_store_is_an_alarm_until_it_is_mended(
    unattended: Unattended,
) -> None:
    listener, table = unattended.listener, unattended.directory / "cron.d"
    unattended.call("schedule", "install", "--system", "cron", f"--directory={table}").check_returncode()
    with cron(table):
        wait_until(lambda: listener.pings()[-1:] == [""], A_MINUTE_AND_SOME)
        unattended.settle()
    (first,) = unattended.archives()
    assert "drunner_vault_last_run_success{" in (unattended.directory / "vault.prom").read_text()
    assert unattended.call("health").returncode == 0

    unattended.fire(lambda: listener.pings()[-2:] == ["/start", ""] and len(listener.pings()) > 2)
    (second,) = unattended.archives()
    assert second > first
    assert listener.titles() == []

    client, held = unattended.server.client(), Bucket(unattended.server, "backups").objects()
    for key in held:
        client.delete_object(Bucket="backups", Key=key)
    client.delete_bucket(Bucket="backups")
    unattended.fire(listener.titles)
    assert "backup of keeper (job nightly) failed" in listener.titles()
    assert "/fail" in listener.pings()
    sick = unattended.call("health")
    assert sick.returncode == 1
    assert "backup of keeper" in sick.stdout

    unattended.server.bucket("backups")
    for key, data in held.items():  # the same store again: an empty one would be refused
        client.put_object(Bucket="backups", Key=key, Body=data)
    unattended.fire(lambda: any(title.startswith("resolved: ") for title in listener.titles()))
    assert "resolved: backup of keeper (job nightly) failed" in listener.titles()
    assert len(unattended.archives()) == 1
    well = unattended.call("health")
    assert well.returncode == 0, well.stdout
