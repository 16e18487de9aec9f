"""Making keys, printing them and trying them, as a person does it."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.archives import make, some_files
from support.catalogs import NOW, add, catalog
from support.scanning import drawings, printed, scan, scan_drawing

from drunner_vault.age import parse_recipient
from drunner_vault.archive import WriterOptions
from drunner_vault.clock import SYSTEM_CLOCK
from drunner_vault.stores.local import LocalStore
from drunner_vault.workflows.trust import Trust

Run = Callable[..., subprocess.CompletedProcess[str]]
PROGRAMS = f"{Path(sys.executable).parent}:/usr/bin:/bin"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runner(tmp_path)


def runner(directory: Path) -> Run:
    """drunner-vault on a host whose settings are below `directory`, which is also where it is called."""
    environment = {"PATH": PROGRAMS, "DRUNNER_CONFIG_DIR": str(directory / "etc"), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    environment["DRUNNER_ROOT"] = str(directory / "drunner")

    def call(*words: str | Path, code: int = 0, shell: bool = False, given: str = "") -> Any:
        command = ["bash", "-euo", "pipefail", "-c", *words] if shell else ["drunner-vault", *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, text=True, input=given, env=environment, cwd=directory, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
        return done

    return call


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "store").mkdir()
    return LocalStore(tmp_path / "store")


def back_up(store: LocalStore, recipient: str, trust: Trust, service: str = "notes") -> str:
    """What a backup to a recipient leaves in a store, signed by host `there`."""
    signer = trust.signing_key()
    options = WriterOptions(threads=1, sign=signer.sign)
    data = make(some_files(5), recipients=[parse_recipient(recipient)], options=options)
    return add(
        store, NOW, service, data=data, sign=signer, head=lambda head: replace(head, sealed_to=(recipient[:16],))
    )


@pytest.fixture
def there(tmp_path: Path) -> Trust:
    return Trust(tmp_path / "etc", "there")


def made(run: Run, name: str = "key.txt", *options: str) -> str:
    return str(run("key", "new", "-o", name, *options).stdout).strip()


def typed(page: str) -> list[str]:
    """The lines that a page says to type, in order."""
    return [html.unescape(re.sub("<[^>]+>", "", line)) for line in re.findall(r"<div><span>.*?</div>", page)]


@pytest.mark.parametrize(("options", "prefix"), [((), "age1"), (("--post-quantum",), "age1pq1")])
def test_a_new_key_is_its_owners_and_never_shown(
    run: Run, tmp_path: Path, options: tuple[str, ...], prefix: str
) -> None:
    done = run("key", "new", "-o", "key.txt", *options)
    assert done.stdout.startswith(prefix)
    assert "SECRET" not in done.stdout + done.stderr
    assert (tmp_path / "key.txt").stat().st_mode & 0o777 == 0o600
    assert run("key", "recipient", "key.txt").stdout == done.stdout
    assert "exists already" in run("key", "new", "-o", "key.txt", code=1).stderr


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("options", [(), ("--post-quantum",)])
def test_a_kit_gives_back_the_key_that_was_put_on_it(
    run: Run, store: LocalStore, there: Trust, tmp_path: Path, options: tuple[str, ...]
) -> None:
    back_up(store, made(run, "key.txt", *options), there)
    done = run("key", "kit", "-i", "key.txt", "--store", store.root, "--to", "kit.html")
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "kit.html").stat().st_mode & 0o777 == 0o600
    *key, signer = drawings((tmp_path / "kit.html").read_text())
    assert b"".join(scan_drawing(svg, tmp_path) for svg in key) == (tmp_path / "key.txt").read_bytes()
    assert scan_drawing(signer, tmp_path).decode() == run("key", "signer").stdout.strip()
    assert "exists already" in run("key", "kit", "--store", store.root, "--to", "kit.html", code=1).stderr


def test_a_kit_tells_programs_all_but_the_secret(run: Run, store: LocalStore, there: Trust, tmp_path: Path) -> None:
    recipient = made(run)
    back_up(store, recipient, there)
    said = json.loads(run("key", "kit", "-i", "key.txt", "--store", store.root, "--to", "kit.html", "--json").stdout)
    assert said == {
        "kit": "kit.html",
        "secret": True,
        "recipients": [recipient],
        "signers": [there.signing_key().public().fingerprint],
        "stores": [str(store.root)],
        "services": ["there/notes"],
        "problems": [],
    }


def test_what_is_in_the_way_of_a_recovery_is_said_when_the_kit_is_made(run: Run, store: LocalStore) -> None:
    made(run)
    assert "there is no archive" in run("key", "kit", "-i", "key.txt", "--store", store.root, "--to", "k.html").stderr
    assert "no store was given" in run("key", "kit", "--to", "other.html", code=1).stderr
    assert "no-such-key" in run("key", "kit", "-i", "no-such-key", "--store", store.root, "--to", "o", code=1).stderr


@pytest.mark.usefixtures("scanner")
def test_the_lines_on_a_kit_do_what_they_say_on_a_host_that_knows_nothing(
    run: Run, store: LocalStore, tmp_path: Path
) -> None:
    web = Trust(tmp_path / "web", "there")
    run("key", "trust", web.signer_line())
    name = back_up(store, made(run), web).rpartition("/")[2]
    run("key", "kit", "-i", "key.txt", "--store", store.root, "--to", "kit.html")
    page = (tmp_path / "kit.html").read_text()
    lines = typed(page)
    (tmp_path / "new").mkdir()
    host = runner(tmp_path / "new")

    def follow(begins: str, given: str = "", replaced: str = "") -> str:
        line = next(line for line in lines if line.startswith(begins))
        return str(host(line.replace("FILE", replaced) if replaced else line, shell=True, given=given).stdout)

    follow("cat > key.txt", scan_drawing(drawings(page)[0], tmp_path).decode())
    follow("drunner-vault key trust")
    assert "opens" in follow("drunner-vault key rehearse")
    follow("ls -R")
    follow("cp /")
    unpack = next(line for line in lines if line.startswith("age -d"))
    host(f"mkdir out && cd out && {unpack.replace('FILE', name)}", shell=True)
    allow, verify = (next(line for line in lines if line.startswith(word)) for word in ("echo", "ssh-keygen"))
    host(f"cd out && {allow} && {verify.replace('HOST', 'there')}", shell=True)
    assert (tmp_path / "new/out/volumes/drunner-notes-data/f0003").read_bytes() == b"line 3\n" * 3
    assert any(line.startswith("drunner-vault restore") and " notes -i key.txt" in line for line in lines)


@pytest.mark.usefixtures("printer")
def test_a_printed_kit_still_gives_the_key_back(run: Run, store: LocalStore, there: Trust, tmp_path: Path) -> None:
    back_up(store, made(run, "key.txt", "--post-quantum"), there)
    run("key", "kit", "-i", "key.txt", "--store", store.root, "--to", "kit.html")
    (tmp_path / "print").mkdir()
    sheets = printed(tmp_path / "kit.html", tmp_path / "print")
    read = b"".join(map(scan, sheets))
    drawn = [scan_drawing(svg, tmp_path) for svg in drawings((tmp_path / "kit.html").read_text())]
    assert all(code in read for code in drawn)
    assert len(read) == sum(map(len, drawn))
    assert 2 <= len(sheets) <= 4


def test_a_rehearsal_tells_what_opened_and_by_which_key(run: Run, store: LocalStore, there: Trust) -> None:
    recipient = made(run)
    back_up(store, recipient, there)
    back_up(store, recipient, there, "wiki")
    header, *rows = run("key", "rehearse", store.root, "-i", "key.txt").stdout.splitlines()
    assert header.split()[:2] == ["HOST", "SERVICE"]
    assert [row.split()[1] for row in rows] == ["notes", "wiki"]
    assert all(recipient[:16] in row and "signed as there" in row and row.endswith("opens") for row in rows)
    now = SYSTEM_CLOCK.now()
    assert all(item.rehearsed for item in catalog(store, by=there.host_signers(now), now=now).archives)
    done = run("key", "rehearse", store.root, "-i", "key.txt", "--full", "--service", "w*", "--json")
    (said,) = json.loads(done.stdout.splitlines()[-1])["stores"]
    assert [(item["service"], item["checked"], item["trusted"]) for item in said["services"]] == [
        ("wiki", "everything", True)
    ]


def test_a_rehearsal_that_fails_says_so_to_everybody(run: Run, store: LocalStore, there: Trust) -> None:
    mine = made(run)
    back_up(store, mine, there)
    back_up(store, made(run, "other.txt"), there, "wiki")
    done = run("key", "rehearse", store.root, "-i", "key.txt", code=1)
    assert "error: wiki of there: the file is encrypted for recipients" in done.stderr
    assert "notes" not in done.stderr
    said = json.loads(run("key", "rehearse", store.root, "-i", "key.txt", "--json", code=1).stdout.splitlines()[-1])
    assert [bool(item["problem"]) for item in said["stores"][0]["services"]] == [False, True]
    run("key", "rehearse", store.root, "-i", "key.txt", "-i", "other.txt")
    assert "no identity was given" in run("key", "rehearse", store.root, code=1).stderr
    assert (
        "there is no archive of nots"
        in run("key", "rehearse", store.root, "-i", "key.txt", "--service", "nots", code=1).stderr
    )


def test_all_stores_of_the_settings_are_rehearsed_whatever_becomes_of_one(
    run: Run, store: LocalStore, there: Trust, tmp_path: Path
) -> None:
    back_up(store, made(run), there)
    settings = f'[stores.gone]\nurl = "file://{tmp_path}/gone"\n[stores.main]\nurl = "file://{store.root}"\n'
    (tmp_path / "etc/vault.toml").write_text(settings)
    done = run("key", "rehearse", "-i", "key.txt", code=1)
    assert "notes" in done.stdout
    assert f"{tmp_path}/gone" in done.stderr
    run("key", "rehearse", "main", "-i", "key.txt")


def test_an_identity_that_opened_nothing_is_named(run: Run, store: LocalStore, there: Trust) -> None:
    back_up(store, made(run), there)
    idle = made(run, "idle.txt")
    done = run("key", "rehearse", store.root, "-i", "key.txt", "-i", "idle.txt")
    assert f"notice: the identity of {idle[:16]}… opened nothing" in done.stderr
