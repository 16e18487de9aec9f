"""A host's key over the years: printed, tried, changed, and needed."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from support.engines import Completed, Host
from support.keeper import Key, install_keeper, make_key


@pytest.fixture
def keeper(host: Host, tmp_path: Path) -> Host:
    """A host with a service, and with settings that name one store."""
    install_keeper(host)
    (tmp_path / "store").mkdir()
    return host


def settle(host: Host, store: Path, key: Key) -> None:
    """Backups of this host are for this key from now on."""
    host.config_dir.mkdir(parents=True, exist_ok=True)
    (host.config_dir / "vault.toml").write_text(
        f'recipients = ["{key.recipient}"]\n[stores.main]\nurl = "file://{store}"\n'
    )


def back_up(host: Host, images: str = "never") -> str:
    """A backup by the settings alone; the archive's file."""
    done = host.drunner("backup", "keeper", "main", "--images", images, "--json")
    return str(json.loads(done.stdout.splitlines()[-1])["archive"])


def rehearsed(host: Host, *keys: Key, check: bool = True) -> Completed:
    options = [word for key in keys for word in ("-i", str(key.identity))]
    return host.drunner("key", "rehearse", "main", *options, check=check)


def test_after_a_change_of_recipients_new_archives_open_with_the_new_key_and_old_ones_with_the_old(
    keeper: Host, tmp_path: Path
) -> None:
    old, new = make_key(tmp_path, "old.txt"), make_key(tmp_path, "new.txt")
    settle(keeper, tmp_path / "store", old)
    first = back_up(keeper)
    rehearsed(keeper, old)
    settle(keeper, tmp_path / "store", new)
    second = back_up(keeper)

    for archive, right, wrong in ((first, old, new), (second, new, old)):
        keeper.drunner("verify", archive, "-i", right.identity)
        assert keeper.drunner("verify", archive, "-i", wrong.identity, check=False).returncode == 1
    listed = json.loads(keeper.drunner("archives", "main", "--json").stdout)
    assert [item["sealed_to"] for item in listed] == [[new.recipient[:16]], [old.recipient[:16]]]

    refused = rehearsed(keeper, old, check=False)
    assert refused.returncode == 1
    assert "error: keeper of " in refused.stderr
    rehearsed(keeper, new)
    both = rehearsed(keeper, old, new)
    assert f"the identity of {old.recipient[:16]}… opened nothing" in both.stderr
    keeper.drunner("restore", first, "past", "-i", old.identity, "-i", new.identity)
    keeper.run("past", "selftest")


def test_the_lines_of_a_recovery_kit_bring_a_service_back_on_another_host(
    keeper: Host, other_host: Host, tmp_path: Path
) -> None:
    key = make_key(tmp_path)
    settle(keeper, tmp_path / "store", key)
    back_up(keeper, "always")
    kit = tmp_path / "kit.html"
    made = keeper.drunner("key", "kit", "-i", key.identity, "--to", kit, "--json")
    assert json.loads(made.stdout)["problems"] == []
    keeper.drunner("obliterate", "keeper")

    lines = re.findall(r"<div><span>.*?</div>", kit.read_text())
    to_type = [html.unescape(re.sub("<[^>]+>", "", line)) for line in lines]
    for begins in ("cat >", "drunner-vault key trust", "drunner-vault key rehearse", "drunner-vault restore"):
        line = next(line for line in to_type if line.startswith(begins))
        other_host.run("bash", "-c", line, input=key.identity.read_text())
    other_host.run("keeper", "selftest")
