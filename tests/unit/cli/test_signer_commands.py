"""key signer, trust, signers, retire and rotate, as an operator calls them."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.catalogs import HOUR, add

from drunner_vault.clock import SYSTEM_CLOCK
from drunner_vault.signing import NAMESPACE, SigningKey, parse_allowed_signers
from drunner_vault.stores.local import LocalStore
from drunner_vault.workflows.trust import Trust

Run = Callable[..., subprocess.CompletedProcess[str]]
HERE = os.uname().nodename
NOW = SYSTEM_CLOCK.now().replace(microsecond=0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    environment = {"PATH": "/usr/bin:/bin", "DRUNNER_CONFIG_DIR": str(tmp_path / "etc"), "LC_ALL": "C.UTF-8"}
    environment["DRUNNER_ROOT"] = str(tmp_path / "drunner")

    def call(*arguments: str | Path, code: int = 0, given: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "drunner_vault", *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, input=given, cwd=tmp_path
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


@pytest.fixture
def there(tmp_path: Path) -> Trust:
    """Another host."""
    return Trust(tmp_path / "there", "there")


def allowed(tmp_path: Path) -> str:
    path = tmp_path / "etc" / "allowed_signers"
    return path.read_text() if path.exists() else ""


def fingerprint(trust: Trust) -> str:
    return trust.signing_key().public().fingerprint


def test_key_signer_prints_what_key_trust_takes(run: Run, tmp_path: Path, there: Trust) -> None:
    line = run("key", "signer").stdout
    assert line.split()[:2] == [HERE, f'namespaces="{NAMESPACE}"']
    (tmp_path / "line").write_text(there.signer_line() + "\n")
    for number, argument in enumerate((there.signer_line(), tmp_path / "line", "-")):
        done = run("key", "trust", argument, given=there.signer_line(), code=3 if number else 0)
        assert allowed(tmp_path) == there.signer_line() + "\n"
        assert ("is trusted already" in done.stderr) == bool(number)
    run("key", "trust", "ssh-ed25519 nonsense", code=1)


def test_trusting_a_signer_says_for_which_host(run: Run, tmp_path: Path, there: Trust) -> None:
    said = run("key", "trust", there.signer_line())
    assert said.stdout == f"{fingerprint(there)} is trusted for host there\n"
    other = SigningKey.generate().public()
    document = json.loads(run("key", "trust", other.allowed_line("web1"), "--json").stdout)
    assert document == {"fingerprint": other.fingerprint, "hosts": ["web1"], "counts": True}
    assert allowed(tmp_path).splitlines() == [there.signer_line(), other.allowed_line("web1")]


@pytest.mark.parametrize("principals", ["*", "web*", "web?", "a,b", "ssh-ed25519"])
def test_what_is_not_for_one_host_is_refused_unless_it_is_meant(
    run: Run, tmp_path: Path, there: Trust, principals: str
) -> None:
    public = there.signing_key().public()
    line = public.allowed_line(principals)
    if principals == "ssh-ed25519":  # the key alone, as in a file id_ed25519.pub
        line = " ".join(line.split()[-2:])
    refused = run("key", "trust", line, code=1)
    error, hint = refused.stderr.splitlines()
    assert error.startswith("error: ")
    assert "--pattern" in hint
    assert allowed(tmp_path) == ""
    said = run("key", "trust", line, "--pattern").stdout
    hosts = "*" if principals == "ssh-ed25519" else principals
    assert said == f"{public.fingerprint} is trusted for host {hosts}, for opening archives only\n"
    run("key", "trust", line, "--pattern", code=3)


def test_signers_are_listed_with_what_they_are_good_for(run: Run, tmp_path: Path, there: Trust) -> None:
    named, pattern = SigningKey.generate().public(), SigningKey.generate().public()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/vault.toml").write_text(f"signers = ['{named.allowed_line('settings')}']\n")
    own = json.loads(run("key", "signer", "--json").stdout)["fingerprint"]
    run("key", "trust", there.signer_line())
    run("key", "trust", pattern.allowed_line("web*"), "--pattern")
    run("key", "retire", fingerprint(there))
    said = json.loads(run("key", "signers", "--json").stdout)["signers"]
    shown = {item["fingerprint"]: (item["hosts"], item["use"], bool(item["retired"])) for item in said}
    assert shown == {
        own: (HERE, "this host", False),
        fingerprint(there): ("there", "counts", True),
        pattern.fingerprint: ("web*", "opens archives only", False),
        named.fingerprint: ("settings", "counts", False),
    }
    header, *rows = run("key", "signers").stdout.splitlines()
    assert header.split() == ["FINGERPRINT", "HOSTS", "USE", "RETIRED"]
    assert [row.split()[0] for row in rows] == [item["fingerprint"] for item in said]


@pytest.mark.parametrize(
    "by",
    [
        "fingerprint",
        "line",
        "settings",
    ],
)
def test_a_key_is_retired_once_wherever_its_line_is(run: Run, tmp_path: Path, there: Trust, by: str) -> None:
    if by == "settings":
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/vault.toml").write_text(f"signers = ['{there.signer_line()}']\n")
    else:
        run("key", "trust", there.signer_line())
    before = SYSTEM_CLOCK.now().replace(microsecond=0)
    said = run("key", "retire", there.signer_line() if by == "line" else fingerprint(there)).stdout
    assert said == f"{fingerprint(there)} is retired\n"
    (line,) = parse_allowed_signers(allowed(tmp_path), "the file")
    assert line.valid_before is not None
    assert before <= line.valid_before <= SYSTEM_CLOCK.now()
    again = run("key", "retire", fingerprint(there), code=3)
    assert "is retired already" in again.stderr


def test_what_cannot_be_retired_is_one_error_and_what_to_do(run: Run, there: Trust) -> None:
    own = json.loads(run("key", "signer", "--json").stdout)["fingerprint"]
    for signer, hint in ((own, "key rotate"), (fingerprint(there), "key signers"), ("nonsense", "NAME")):
        error, advice = run("key", "retire", signer, code=1).stderr.splitlines()
        assert error.startswith("error: ")
        assert hint in advice


def test_a_retired_key_keeps_its_worth_for_what_appeared_before_by_the_stores_clock(
    run: Run, tmp_path: Path, there: Trust
) -> None:
    (tmp_path / "store").mkdir()
    store = LocalStore(tmp_path / "store")
    run("key", "trust", there.signer_line())
    before = add(store, NOW - HOUR, sign=there.signing_key())
    _appeared(tmp_path / "store", NOW - HOUR)
    run("key", "retire", fingerprint(there))
    after = add(store, NOW - 2 * HOUR, sign=there.signing_key())
    _appeared(tmp_path / "store", SYSTEM_CLOCK.now() + HOUR, after)
    found = {item["key"]: item for item in json.loads(run("archives", store.root, "--json").stdout)}
    assert {key: item["standing"] for key, item in found.items()} == {before: "proven", after: "stranger"}
    assert "was retired before it appeared here" in found[after]["why"]


def _appeared(directory: Path, moment: dt.datetime, beginning: str = "") -> None:
    """Set when files of a store appeared in it."""
    for path in directory.rglob("*"):
        if path.is_file() and str(path.relative_to(directory)).startswith(beginning):
            os.utime(path, (moment.timestamp(), moment.timestamp()))


def test_a_rotated_key_is_another_one_and_what_the_old_one_signed_belongs_to_its_series(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    store, trust = LocalStore(tmp_path / "store"), Trust(tmp_path / "etc", HERE)
    old = trust.signing_key()
    before = add(store, NOW - HOUR, host=HERE, sign=old)
    _appeared(tmp_path / "store", NOW - HOUR)
    said = json.loads(run("key", "rotate", "--json").stdout)
    new = trust.signing_key()
    assert new.public() != old.public()
    assert new.public().fingerprint in json.dumps(said)
    after = add(store, NOW, host=HERE, sign=new)
    found = {item["key"]: item for item in json.loads(run("archives", store.root, "--json").stdout)}
    assert {key: item["standing"] for key, item in found.items()} == {before: "proven", after: "proven"}
    assert found[before]["series"] == found[after]["series"] == new.public().fingerprint
    assert run("key", "signer").stdout.strip() == new.public().allowed_line(HERE)


def test_rotating_prints_the_line_that_other_hosts_need_and_names_the_key_to_retire(run: Run, tmp_path: Path) -> None:
    run("key", "signer")
    old = Trust(tmp_path / "etc", HERE).signing_key().public()
    done = run("key", "rotate")
    new = Trust(tmp_path / "etc", HERE).signing_key().public()
    assert done.stdout == new.allowed_line(HERE) + "\n"
    assert done.stderr.startswith(f"notice: {old.fingerprint} is retired")
    assert "key retire" in done.stderr
