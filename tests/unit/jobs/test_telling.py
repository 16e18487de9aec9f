"""Messages, pings and metrics, against a listener on the loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.listeners import Listener, listening

from drunner_vault.alarms.metrics import HELP, Sample, render, write_metrics
from drunner_vault.alarms.notify import Tone, check_urls, send
from drunner_vault.alarms.ping import Ping, ping
from drunner_vault.errors import NotFound


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


@pytest.fixture
def nobody() -> int:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_message_reaches_each_url_and_what_failed_is_said(listener: Listener, nobody: int) -> None:
    dead = f"json://somebody:secret@127.0.0.1:{nobody}/token"
    problems = send("a title", "line\n<b>line</b>", [listener.apprise(), dead, "no url", "bogus://secret"], Tone.BAD)
    (message,) = listener.messages()
    assert (message["title"], message["message"], message["type"]) == ("a title", "line\n<b>line</b>", "failure")
    assert [problem.partition(":")[0] for problem in problems] == ["json", "no url", "bogus"]
    assert "Connection error" in problems[0]
    assert "secret" not in "".join(problems)
    assert "token" not in "".join(problems)


def test_what_is_wrong_with_urls_shows_without_calling_anybody(listener: Listener) -> None:
    assert check_urls([listener.apprise()]) == []
    (problem,) = check_urls([listener.apprise(), "bogus://secret"])
    assert "notification 2 of 2" in problem
    assert "secret" not in problem
    assert listener.said == []


def test_loading_apprise_warns_of_nothing() -> None:
    code = (
        "from drunner_vault.alarms.notify import check_urls; check_urls(['json://localhost', 'mailto://a:b@c.example'])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_pings_go_where_healthchecks_has_them_with_the_log(listener: Listener) -> None:
    assert ping(f"{listener.url}/check", Ping.START) == ""
    assert ping(f"{listener.url}/check/?create=1", Ping.SUCCESS, "well") == ""
    assert ping(f"{listener.url}/check?create=1", Ping.FAIL, "ä" * 100_000) == ""
    assert [path for path, _ in listener.said] == ["/check/start", "/check?create=1", "/check/fail?create=1"]
    assert [len(body.encode()) for _, body in listener.said] == [0, 4, 100_000]


def test_a_ping_is_tried_again_where_that_may_help_and_names_the_host_only(listener: Listener, nobody: int) -> None:
    waits: list[float] = []
    listener.refused = ("/secret",)
    problem = ping(f"{listener.url}/secret", Ping.SUCCESS, sleep=waits.append)
    assert problem.startswith("the check at 127.0.0.1 could not be told: it answers 500")
    assert (len(listener.said), waits) == (3, [1.0, 2.0])
    problem = ping(f"http://127.0.0.1:{nobody}/secret", Ping.SUCCESS, sleep=waits.append)
    assert "refused" in problem
    assert "secret" not in problem
    assert len(waits) == 4


@pytest.mark.parametrize(
    "url", ["https://[abc/secret", "https://h/secret x", "http:///secret", "http://h:x/secret", ""]
)
def test_what_is_no_url_is_not_pinged_and_not_repeated(url: str) -> None:
    assert ping(url, Ping.SUCCESS) == "the check could not be told: its URL is none"


def test_metrics_are_in_the_text_format_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "vault.prom"
    samples = [
        Sample("last_run_success", {"service": 'a"\\\n'}, 1.0),
        Sample("alarms", {}, 2),
        Sample("last_run_success", {"service": "b"}, 0.25),
    ]
    write_metrics(path, samples)
    assert path.read_text().splitlines() == [
        f"# HELP drunner_vault_last_run_success {HELP['last_run_success']}",
        "# TYPE drunner_vault_last_run_success gauge",
        'drunner_vault_last_run_success{service="a\\"\\\\\\n"} 1',
        'drunner_vault_last_run_success{service="b"} 0.25',
        f"# HELP drunner_vault_alarms {HELP['alarms']}",
        "# TYPE drunner_vault_alarms gauge",
        "drunner_vault_alarms 2",
    ]
    read = {family.name: family.samples for family in text_string_to_metric_families(path.read_text())}
    assert read["drunner_vault_last_run_success"][0].labels == {"service": 'a"\\\n'}
    assert read["drunner_vault_alarms"][0].value == 2
    assert path.stat().st_mode & 0o777 == 0o644
    assert render([]) == ""
    with pytest.raises(NotFound):
        write_metrics(tmp_path / "nowhere" / "x.prom", samples)
