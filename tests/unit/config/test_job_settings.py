"""Jobs, notifications, secrets and signers in vault.toml, and errors that name their line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from drunner_vault import wiring
from drunner_vault.config import Settings, read_settings
from drunner_vault.config.jobs import JOB_KEYS
from drunner_vault.config.settings import TOP_KEYS
from drunner_vault.config.template import Start, template
from drunner_vault.config.values import parse_length
from drunner_vault.errors import BadKey, BadUsage
from drunner_vault.signing import NAMESPACE, SigningKey
from drunner_vault.wiring.environment import for_hooks
from drunner_vault.wiring.jobs import job_schedule, job_timezone
from drunner_vault.workflows.trust import Trust

Write = Callable[[str], Path]
STORE = "[stores.disk]\nurl = '/backups'\n"

WHOLE = """
recipients = ["age1x"]
timezone = "Europe/Berlin"
metrics = "metrics/vault.prom"

[stores.disk]
url = "/backups"
[stores.offsite]
url = "s3://bucket"

[notifications.ops]
urls_file = "/etc/drunner/ops.urls"
[notifications.me]
urls = ["mailto://me@example.com"]
on = ["failure", "success"]

[jobs.nightly]
task = "verify"
services = ["notes", "wiki-*"]
exclude = ["wiki-old"]
store = "disk"
copy_to = ["offsite"]
recipients = ["age1y"]
schedule = " 30 2 * * mon-fri "
timezone = "Asia/Tokyo"
jitter = "1h30m"
catch_up = false
at_once = 4
prune = false
images = "never"
level = 9
threads = 2
bandwidth_limit = "1.5M"
background = false
allow_partial = true
identity_files = ["keys/drill.txt", "/root/key.txt"]
max_age = "1d12h"
max_unverified = "2w"
notify = ["ops"]
ping = "https://hc.example.com/uuid"

[jobs.plain]
store = "disk"
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "vault.toml"
        path.write_text(text)
        return path

    return to_file


def test_a_job_says_everything_about_itself(write: Write) -> None:
    path = write(WHOLE)
    known = read_settings(path)
    job = known.job("nightly")
    assert (job.name, job.task, job.where) == ("nightly", "verify", f"{path}, line 17")
    assert (job.services, job.exclude, job.store) == (("notes", "wiki-*"), ("wiki-old",), "disk")
    assert (job.copy_to, job.recipients, job.schedule) == (("offsite",), ("age1y",), "30 2 * * mon-fri")
    assert (job.timezone, job.jitter, job.catch_up, job.at_once) == ("Asia/Tokyo", 5400, False, 4)
    assert (job.prune, job.images, job.level, job.threads) == (False, "never", 9, 2)
    assert (job.bandwidth, job.background, job.allow_partial) == (1536 * 1024, False, True)
    assert job.identity_files == (str(path.parent / "keys/drill.txt"), "/root/key.txt")
    assert (job.max_age, job.max_unverified, job.notify) == (36 * 3600, 14 * 86400, ("ops",))
    assert job.ping is not None
    assert job.ping.value({}) == ["https://hc.example.com/uuid"]
    assert job.where_of("schedule") == f"{path}, line 24"
    assert known.metrics == str(path.parent / "metrics/vault.prom")
    assert known.notifications["ops"].on == ("failure", "recovery", "stale")
    assert known.notifications["me"].on == ("failure", "success")


def test_a_job_needs_no_more_than_a_store(write: Write) -> None:
    job = read_settings(write(WHOLE)).job("plain")
    assert (job.task, job.services, job.schedule, job.catch_up) == ("backup", ("*",), "", True)
    assert (job.jitter, job.bandwidth, job.max_age, job.max_unverified, job.ping) == (0, 0, None, None, None)
    assert job_schedule(job) is None


def test_a_job_goes_by_its_own_clock_else_by_that_of_the_settings(write: Write) -> None:
    path = write(WHOLE)
    known, environment = read_settings(path), {"DRUNNER_CONFIG_DIR": str(path.parent)}
    assert str(job_timezone(environment, known.job("nightly"))) == "Asia/Tokyo"
    assert str(job_timezone(environment, known.job("plain"))) == "Europe/Berlin"


def test_a_job_that_is_not_there_is_said_with_the_nearest(write: Write) -> None:
    with pytest.raises(BadUsage) as told:
        read_settings(write(WHOLE)).job("nightli")
    assert told.value.hint == "did you mean nightly?"


@pytest.mark.parametrize(
    ("text", "line", "problem", "hint"),
    [
        ("[jobs.x]", 1, "store is missing", "store ="),
        ("[jobs.x]\nstore = 'dsk'", 2, "no store dsk", "did you mean disk?"),
        ("[jobs.x]\nstore = 'disk'\ncopy_to = ['tape']", 3, "no store tape", "known are: disk"),
        ("[jobs.x]\nstore = 'disk'\ncopy_to = ['disk']", 3, "the job's own store", "leave it out"),
        ("[jobs.x]\nstore = 'disk'\nnotify = ['ops']", 3, "no notification ops", "known are: none"),
        ("[jobs.x]\nstore = 'disk'\nshedule = '@daily'", 3, "unknown setting shedule", "did you mean schedule?"),
        ("[jobs.x]\nstore = 'disk'\ntask = 'back'", 3, "task cannot be 'back'", "did you mean backup?"),
        ("[jobs.x]\nstore = 'disk'\nservices = []", 3, "services is empty", 'services = ["*"]'),
        ("[jobs.x]\nstore = 'disk'\nservices = 'notes'", 3, "must be a list", ""),
        ("[jobs.x]\nstore = 'disk'\nat_once = 0", 3, "at_once must be a number from 1", "at_once = 1"),
        ("[jobs.x]\nstore = 'disk'\nat_once = true", 3, "at_once must be a number from 1", ""),
        ("[jobs.x]\nstore = 'disk'\nlevel = 20", 3, "level must be a number from 1 to 19", ""),
        ("[jobs.x]\nstore = 'disk'\ncatch_up = 'no'", 3, "catch_up must be true or false", ""),
        ("[jobs.x]\nstore = 'disk'\njitter = 10", 3, "jitter must be a text", ""),
        ("[jobs.x]\nstore = 'disk'\njitter = '10'", 3, "'10' is no length of time", "seconds, minutes, hours"),
        ("[jobs.x]\nstore = 'disk'\nmax_age = '6m'", 3, "'6m' is no length of time", "hours, days, weeks"),
        ("[jobs.x]\nstore = 'disk'\nmax_age = ''", 3, "'' is no length of time", ""),
        ("[jobs.x]\nstore = 'disk'\nimages = 'some'", 3, "images cannot be 'some'", "auto, always, never"),
        ("[jobs.x]\nstore = 'disk'\nbandwidth_limit = '10X'", 3, "'10X' is no number of bytes", "10M"),
        ("[jobs.x]\nstore = 'disk'\nping = 'hc.example.com'", 3, "ping is no URL", "https://"),
        ("[jobs.x]\nstore = 'disk'\nping_file = '/b'\nping_env = 'A'", 4, "exclude each other", "keep one"),
        ("[jobs.x]\nstore = 'disk'\nschedule = '0 0 30 2 *'", 3, "there is no 30 in Feb", "a day that there is"),
        ("jobs.x.store = 'disk'\njobs.x.level = 20", 2, "level must be a number", ""),
        ("note = \"\"\"\n[jobs.x]\nlevel = 1\"\"\"\n[jobs.x]\nlevel = 20", 1, "unknown setting note", ""),
        ("jobs = { x = { store = 'disk', services = [\n ']',\n], level = 20 } }", 3, "level must be a number", ""),
        ("[ jobs . 'x' ] # [\nstore = 'disk'\nexclude = [\n 'level = 1',\n]\nlevel = 20", 6, "level must be", ""),
        ("[jobs]\n[jobs.x]\nstore = 'disk'\n'lev\u0065l' = 20", 4, "level must be a number", ""),
        ("[[jobs]]\n[[jobs]]\nx = 1", 2, "jobs must be a table", ""),
        ("[jobs.'a b']\nstore = 'disk'", 1, "a b cannot be the name of a job", "small letters"),
        ("[notifications.x]", 1, "urls is missing", "urls_file"),
        ("[notifications.x]\nurls = ['a']\nurls_env = 'B'", 3, "exclude each other", "keep one"),
        ("[notifications.x]\nurls = ['a']\non = ['fail']", 3, "on cannot be 'fail'", ""),
        ("jobs = 3", 1, "jobs must be a table", "[jobs]"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named_with_file_and_line(
    text: str, line: int, problem: str, hint: str, write: Write
) -> None:
    path = write(f"{text}\n{STORE}")
    with pytest.raises(BadUsage) as told:
        _use(path)
    assert f"{path}, line {line}" in told.value.message
    assert problem in told.value.message
    assert hint in told.value.hint


def _use(path: Path) -> None:
    for job in read_settings(path).jobs.values():
        job_schedule(job)


@pytest.mark.parametrize(
    ("text", "units", "seconds"),
    [("90s", "smh", 90), ("1h30m", "smh", 5400), ("36h", "hdw", 129600), ("1w", "hdw", 604800)],
)
def test_lengths_of_time_are_read(text: str, units: str, seconds: int) -> None:
    assert parse_length(text, units) == seconds


def test_a_secret_is_read_when_it_is_needed_and_never_shown(write: Write, tmp_path: Path) -> None:
    (tmp_path / "urls").write_text("# who is on call\n\nmailto://hidden@example.com\n slack://hidden \n")
    kinds = ("urls = ['mailto://hidden']", "urls_file = 'urls'", "urls_env = 'URLS'")
    values = []
    for text in kinds:
        item = read_settings(write(f"[notifications.ops]\n{text}")).notifications["ops"]
        assert "hidden" not in repr(item) + item.urls.describe()
        values.append(item.urls.value({"URLS": "json://hidden"}))
    assert values == [["mailto://hidden"], ["mailto://hidden@example.com", "slack://hidden"], ["json://hidden"]]


@pytest.mark.parametrize(
    "text", ["urls_file = '/nonexistent'", "urls_env = 'URLS'", "urls_file = 'empty'", "urls = []"]
)
def test_a_secret_that_is_not_there_is_said_with_its_line(text: str, write: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nothing\n")
    path = write(f"[notifications.ops]\n{text}")
    with pytest.raises(BadUsage, match=f"{path}, line 2"):
        read_settings(path).notifications["ops"].urls.value({})


def test_variables_of_the_environment_file_are_for_us_and_not_for_services(write: Write, tmp_path: Path) -> None:
    (tmp_path / "vault.env").write_text(
        "# keys\nAWS_REGION='here'\nexport AWS_ID=a b=c\nTAKEN=file\nDOCKER_HOST=tcp://x\n"
    )
    environment = {"DRUNNER_CONFIG_DIR": str(write("environment_file = 'vault.env'").parent), "TAKEN": "already"}
    known = wiring.settings(environment)
    assert environment["AWS_REGION"] == "here"
    assert environment["AWS_ID"] == "a b=c"
    assert environment["TAKEN"] == "already"
    assert set(for_hooks(known, environment)) == {"DRUNNER_CONFIG_DIR", "DOCKER_HOST"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [("A=1\nthis is none", "line 2: this is no variable"), ("\nPATH=/x", "line 2: PATH cannot be set here")],
)
def test_lines_of_the_environment_file_that_are_none_are_named(
    text: str, problem: str, write: Write, tmp_path: Path
) -> None:
    (tmp_path / "vault.env").write_text(text)
    path = write("environment_file = 'vault.env'")
    with pytest.raises(BadUsage, match=problem):
        wiring.settings({"DRUNNER_CONFIG_DIR": str(path.parent)})
    path.write_text("\nenvironment_file = 'gone.env'")
    with pytest.raises(BadUsage, match=f"{path}, line 2: cannot read"):
        wiring.settings({"DRUNNER_CONFIG_DIR": str(path.parent)})


def test_signers_of_the_settings_are_trusted(write: Write, tmp_path: Path) -> None:
    there = Trust(tmp_path / "there", "there.example")
    signature = there.signing_key().sign(b"root")
    environment = {"DRUNNER_CONFIG_DIR": str(tmp_path)}
    path = write(f"signers = ['{there.signer_line()}']")
    assert wiring.trust(environment).sender(b"root", signature, "there.example").trusted
    assert not wiring.trust(environment).sender(b"root", signature, "other.example").trusted
    bare = "ssh-ed25519 " + there.signer_line().partition("ssh-ed25519 ")[2]
    path.write_text(f"signers = ['{bare}']")
    assert wiring.trust(environment).sender(b"root", signature, "other.example").trusted
    other = SigningKey.generate().sign(b"root")
    assert not wiring.trust(environment).sender(b"root", other, "there.example").trusted
    path.write_text("\nsigners = ['somebody']")
    with pytest.raises(BadKey, match="line 2"):
        wiring.trust(environment).sender(b"root", signature, "there.example")


def test_the_template_is_right_and_so_is_everything_it_shows_as_an_example(write: Write, tmp_path: Path) -> None:
    path = write(template(Start()))
    assert read_settings(path) == Settings()
    assert f'namespaces=\\"{NAMESPACE}\\"' in template(Start())
    start = Start(("age1x", "age1y"), "/backups", "/etc/drunner/vault.env")
    known = read_settings(write(template(start)))
    assert (known.recipients, known.environment_file) == (start.recipients, start.environment_file)
    assert (known.stores["main"].url, known.stores["main"].retention["keep_daily"]) == ("/backups", 7)
    assert (known.job("nightly").schedule, known.job("nightly").jitter) == ("30 2 * * *", 600)
    everything = "\n".join(_uncommented(line) for line in template(Start()).splitlines())
    shown = read_settings(write(everything.replace('copy_to = ["offsite"]', "copy_to = []")))
    assert {job.task for job in shown.jobs.values()} == {"backup", "drill"}
    assert (shown.timezone, shown.notifications["ops"].urls.file) == ("Europe/Berlin", "/etc/drunner/ops.urls")
    assert set(shown.lines) == set(TOP_KEYS)
    assert set(JOB_KEYS) - {"ping_file", "ping_env"} == {key for job in shown.jobs.values() for key in job.lines}


def _uncommented(line: str) -> str:
    """An example as a setting; a sentence stays a comment."""
    bare = line.removeprefix("# ")
    return bare if bare.startswith("[") or bare.partition(" = ")[0].isidentifier() else line
