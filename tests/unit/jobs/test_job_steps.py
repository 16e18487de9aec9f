"""What a job does, with commands that do as the test says: each is a process, as in real life."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.catalogs import Hands

from drunner_vault.config import JobSettings
from drunner_vault.errors import Interrupted, NoChange
from drunner_vault.schedules.entry import SCHEDULER
from drunner_vault.workflows.unattended.commands import Commands
from drunner_vault.workflows.unattended.history import DONE, FAILED, PARTIAL, History, Run
from drunner_vault.workflows.unattended.jobs import JobContext, JobReport, run_job, select
from drunner_vault.workflows.unattended.running import alone, delay

JOB = JobSettings("nightly", "vault.toml, line 1", store="near")

# Writes down how it was called; what it prints, says and exits with are in a file, by its first words.
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
directory, words = Path(sys.argv[1]), sys.argv[2:]
with (directory / "calls").open("a") as file:
    file.write(json.dumps(words) + "\\n")
answers = json.loads((directory / "answers").read_text())
out, said, code = next((value for key, value in answers.items() if " ".join(words).startswith(key)), ["", "", 0])
print(out, flush=True)
print(said, file=sys.stderr, flush=True)
if code == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    (directory / "waiting").touch()
    time.sleep(60)
if code == "die":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(code)
"""
Answer = tuple[str, str, int | str]


@dataclass
class Bench:
    """Runs jobs on a host that has three services."""

    directory: Path
    told: list[tuple[Run, str]] = field(default_factory=list)
    kept: frozenset[str] = frozenset({"near"})

    def __post_init__(self) -> None:
        (self.directory / "calls").touch()
        self.answer({})
        self.history = History(self.directory / "vault")
        self.commands = Commands([sys.executable, "-c", PROGRAM, str(self.directory)], {})

    def answer(self, answers: dict[str, Answer]) -> None:
        (self.directory / "answers").write_text(json.dumps(answers))

    def run(self, job: JobSettings) -> JobReport:
        services = ["mail", "notes", "wiki"]

        def tell(run: Run, hint: str) -> None:
            self.told.append((run, hint))

        context = JobContext(self.commands, self.history, Hands().clock, "here", services, self.kept, tell)
        return run_job(job, context)

    def calls(self) -> list[list[str]]:
        lines = (self.directory / "calls").read_text().splitlines()
        (self.directory / "calls").write_text("")
        return [json.loads(line) for line in lines]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def result(**facts: object) -> str:
    progress = {"event": "progress", "done": 1}
    return json.dumps(progress) + "\n" + json.dumps({"event": "result", **facts})


def test_of_a_step_that_failed_what_to_do_is_told(bench: Bench) -> None:
    bench.answer({"backup mail": ("", "error: no disk\nhint: mount it\nhint: mount it", 1)})
    bench.run(JOB)
    assert {run.service: hint for run, hint in bench.told if run.task == "backup"} == {
        "mail": "mount it", "notes": "", "wiki": "",
    }  # fmt: skip


def verdicts(report: JobReport) -> dict[tuple[str, str], str]:
    return {(run.task, run.service): run.verdict for run in report.runs}


@pytest.mark.parametrize(
    ("services", "exclude", "chosen", "problems"),
    [
        (["*"], [], ["mail", "notes", "wiki"], []),
        (["w*", "notes", "wiki"], [], ["notes", "wiki"], []),
        (["*"], ["[mn]*"], ["wiki"], []),
        (["notes", "shop"], [], ["notes"], ["shop is not installed"]),
        (["w*", "s*"], [], ["wiki"], ["no service that is installed matches s*"]),
        (["notes"], ["*"], [], ["all services that are installed are excluded"]),
        (["Notes"], [], [], ["Notes is not installed"]),
    ],
)
def test_services_are_named_or_matched_and_what_there_is_not_is_said(
    services: Sequence[str], exclude: Sequence[str], chosen: Sequence[str], problems: Sequence[str]
) -> None:
    job = replace(JOB, services=tuple(services), exclude=tuple(exclude))
    assert select(job, ["mail", "notes", "wiki"], "installed") == (chosen, problems)


def test_a_backup_is_given_as_the_settings_say_and_followed_by_copies_and_pruning(bench: Bench) -> None:
    job = replace(JOB, services=("notes",), copy_to=("far", "tape"), recipients=("age1x", "age1y"), level=9)
    job = replace(job, images="never", bandwidth_limit="10M", allow_partial=True)
    bench.kept = frozenset({"near", "tape"})
    report = bench.run(job)
    assert report.ok
    prune = ["--service", "notes", "--host", "here", "--apply", "--json"]
    words = "backup notes near --images never --level 9 --threads 0 --bandwidth-limit 10M "
    words += "--background --allow-partial -r age1x -r age1y --json"
    assert bench.calls() == [
        words.split(),
        ["copy", "near", "far", "--service", "notes", "--host", "here", "--json"],
        ["copy", "near", "tape", "--service", "notes", "--host", "here", "--json"],
        ["prune", "near", *prune],
        ["prune", "tape", *prune],
    ]
    bench.run(replace(job, prune=False, copy_to=(), background=False))
    assert [call[0] for call in bench.calls()] == ["backup"]


def test_what_a_backup_reports_is_in_the_history(bench: Bench) -> None:
    facts = {"archive": "near/x", "bytes": 50, "content": 300, "seconds": 2.0, "paused": 0.5, "problem_count": 0}
    bench.answer({"backup notes": (result(**facts), "", 0)})
    bench.run(replace(JOB, services=("notes",)))
    backup, prune, whole = bench.history.runs()
    assert (backup.archive, backup.bytes, backup.content, backup.rate, backup.paused) == ("near/x", 50, 300, 150, 0.5)
    assert (backup.job, backup.task, backup.service, backup.store) == ("nightly", "backup", "notes", "near")
    assert (prune.task, whole.task, whole.service, whole.verdict) == ("prune", "job", "", DONE)
    assert bench.told == [(backup, ""), (prune, "")]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (("", "notice: x\nerror: no space\nhint: y\nerror: and more", 1), "no space; and more"),
        (('{"error": {"message": "m"}}', "", 1), "it ended with exit code 1"),
        (("", "", "die"), "it was killed by SIGKILL"),
        (("half {", "", 2), "it ended with exit code 2"),
    ],
)
def test_one_that_fails_stops_neither_others_nor_is_it_copied_or_pruned(bench: Bench, answer: Answer, why: str) -> None:
    bench.answer({"backup notes": answer})
    report = bench.run(replace(JOB, at_once=2, copy_to=("far",)))
    assert not report.ok
    assert verdicts(report) == {
        ("backup", "notes"): FAILED,
        **{(task, name): DONE for name in ("mail", "wiki") for task in ("backup", "copy", "prune")},
    }
    assert next(run.why for run in report.runs if run.verdict == FAILED) == why
    assert (report.whole.verdict, report.whole.why) == (PARTIAL, "not all went well: notes")


def test_a_copy_or_pruning_that_fails_is_said_and_the_backup_is_done(bench: Bench) -> None:
    bench.answer({"copy": ("", "error: far away", 1), "prune": ("", "error: frozen", 1), "backup mail": ("", "", 3)})
    report = bench.run(replace(JOB, copy_to=("far",)))
    assert not report.ok
    assert {task for (task, _), verdict in verdicts(report).items() if verdict == FAILED} == {"copy", "prune"}
    assert "error: frozen" in report.log


def test_what_was_allowed_to_be_partial_is_no_failure(bench: Bench) -> None:
    bench.answer({"backup": (result(problem_count=3), "", 0)})
    report = bench.run(replace(JOB, services=("notes",), allow_partial=True))
    assert report.ok
    assert (report.runs[0].verdict, report.runs[0].why) == (PARTIAL, "3 files are not as they were")


def test_a_service_that_is_not_there_fails_the_job_but_not_the_others(bench: Bench) -> None:
    report = bench.run(replace(JOB, services=("notes", "shop")))
    assert (report.ok, report.whole.verdict, report.whole.why) == (False, FAILED, "shop is not installed")
    assert verdicts(report)["backup", "notes"] == DONE


@pytest.mark.parametrize("task", ["verify", "drill", "rehearse"])
def test_checks_take_the_newest_of_this_hosts_services_in_the_store(bench: Bench, task: str) -> None:
    listed = [{"host": host, "service": name} for host in ("here", "there") for name in ("wiki", "notes", "mail")]
    bench.answer({"archives": (json.dumps(listed, indent=2), "", 0)})
    job = replace(JOB, task=task, exclude=("mail",), identity_files=("/k1", "/k2"))
    assert bench.run(job).ok
    identities = ["-i", "/k1", "-i", "/k2", "--json"]
    expected = {
        "verify": lambda name: ["verify", f"near/here/{name}/latest", *identities],
        "drill": lambda name: ["drill", f"near/here/{name}/latest", *identities],
        "rehearse": lambda name: ["key", "rehearse", "near", "--service", name, "--host", "here", *identities],
    }[task]
    assert bench.calls()[1:] == [expected("notes"), expected("wiki")]


def test_a_host_without_archives_of_its_own_checks_those_of_others_and_needs_no_key(bench: Bench) -> None:
    bench.answer({"archives": (json.dumps([{"host": "there", "service": "notes"}]), "", 0)})
    assert bench.run(replace(JOB, task="verify")).ok
    assert bench.calls()[1] == ["verify", "near/there/notes/latest", "--no-key", "--json"]


def test_checks_try_what_accepted_keys_have_signed_and_other_archives_only_where_there_are_no_such(
    bench: Bench,
) -> None:
    def tried(**standings: str) -> list[str]:
        listed = [{"host": "here", "service": name, "standing": kind} for name, kind in standings.items()]
        bench.answer({"archives": (json.dumps(listed), "", 0)})
        bench.run(replace(JOB, task="verify"))
        return [call[1].split("/")[2] for call in bench.calls()[1:]]

    assert tried(notes="proven", wiki="stated", mail="stranger", shop="unsigned") == ["notes", "wiki"]
    assert tried(mail="stranger", shop="unsigned") == ["mail", "shop"]


def test_what_is_left_of_archives_that_are_gone_is_not_tried(bench: Bench) -> None:
    listed = [{"host": "here", "service": "notes", "standing": "proven", "missing": True}]
    bench.answer({"archives": (json.dumps(listed), "", 0)})
    report = bench.run(replace(JOB, task="verify"))
    assert [call[0] for call in bench.calls()] == ["archives"]
    assert not report.ok


def test_what_a_backup_says_about_its_archive_is_kept(bench: Bench) -> None:
    facts = {"archive": "near/x", "archive_id": "0" * 32, "sha256": "a" * 64, "etag": "abc", "bytes": 50}
    bench.answer({"backup notes": (result(**facts), "", 0)})
    bench.run(replace(JOB, services=("notes",)))
    run = bench.history.runs()[0]
    assert (run.archive_id, run.sha256, run.etag) == ("0" * 32, "a" * 64, "abc")


def test_a_store_that_cannot_be_listed_fails_the_job(bench: Bench) -> None:
    bench.answer({"archives": ("", "error: no route", 1)})
    report = bench.run(replace(JOB, task="verify"))
    assert report.whole.why == "the archives in near cannot be listed: no route"
    assert not report.ok


def test_stopping_ends_what_is_underway_and_begins_nothing_more(bench: Bench) -> None:
    bench.answer({"backup": ("", "error: stopped", "wait")})

    def stop() -> None:
        while not (bench.directory / "waiting").exists():
            pass
        bench.commands.stop()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Interrupted):
        bench.run(JOB)
    stopper.join()
    assert [call[1] for call in bench.calls()] == ["mail"]
    assert [(run.task, run.verdict) for run in bench.history.runs()] == [("backup", FAILED), ("job", FAILED)]
    assert bench.history.now_running() == []


def test_a_history_that_cannot_be_written_keeps_nothing_from_being_backed_up(bench: Bench) -> None:
    (bench.directory / "vault").mkdir()
    (bench.directory / "vault" / "history.jsonl").mkdir()
    report = bench.run(JOB)
    assert {run.verdict for run in report.runs} == {DONE}
    assert (report.ok, "history.jsonl" in report.unwritten) == (False, True)


def test_a_job_runs_alone_whatever_it_is_called(tmp_path: Path) -> None:
    for name in ("test", "x" * 64):
        with alone(tmp_path / "vault", name):
            with (
                pytest.raises(NoChange, match=rf"job {name} is running already \(process \d+\)"),
                alone(tmp_path / "vault", name),
            ):
                pass
            with alone(tmp_path / "vault", "other"):
                pass
    assert list((tmp_path / "vault").iterdir()) == []


def test_a_delay_is_by_chance_and_none_where_systemd_has_waited() -> None:
    assert 0 < delay(1000, {}) < 1000
    assert delay(1000, {SCHEDULER: "systemd"}) == 0
