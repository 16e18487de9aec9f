"""What goes on a recovery kit, and what it says is in the way of a recovery."""

from __future__ import annotations

import datetime as dt
import html
import io
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.archives import make, some_files
from support.catalogs import DAY, HOUR, IDENTITY, NOW, Watched, add, add_record, catalog, clear, identify, sealed
from support.sshservers import HOST, ssh_server

from drunner_vault.age import EncryptWriter, HybridIdentity, ScryptRecipient, X25519Identity, armored, parse_identities
from drunner_vault.catalog.archive import Archive
from drunner_vault.catalog.catalog import CatalogReader
from drunner_vault.catalog.records import RecordKind
from drunner_vault.clock import Clock
from drunner_vault.errors import AlreadyExists, BadKey, Unavailable, WrongKey
from drunner_vault.kit.sheet import Kit
from drunner_vault.signing import SigningKey
from drunner_vault.stores.address import Address, parse_url
from drunner_vault.stores.store import Store
from drunner_vault.workflows.archives.places import Places
from drunner_vault.workflows.recovery.by_hand import Place, url
from drunner_vault.workflows.recovery.kit import KitChoices, gather, write
from drunner_vault.workflows.trust import Trust

CLOCK = Clock(now=lambda: NOW)
RECIPIENT = str(IDENTITY.recipient())
STRANGER = SigningKey.generate()


@dataclass
class Desk:
    """A host on which a kit is made. fails: opening any store does."""

    directory: Path
    store: Watched = field(default_factory=Watched)
    fails: bool = False

    @property
    def trust(self) -> Trust:
        return Trust(self.directory / "etc", "there")

    def open(self, _address: Address) -> Store:
        if self.fails:
            raise Unavailable("nobody answers", "try again")
        return self.store

    def kit(
        self,
        identity: Path | None = None,
        recipients: tuple[str, ...] = (),
        services: tuple[str, ...] = (),
        passphrase: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Kit:
        places = Places(
            named={"main": replace(parse_url("s3://bucket/prefix"), store="main")},
            open=self.open,
            now=lambda: NOW,
            notice=lambda _line: None,
            reader=lambda: CatalogReader(self.trust.host_signers(NOW), NOW),
        )
        target, known = self.directory / "kit.html", environment or {}
        choices = KitChoices("there", identity, ("main",), recipients, services, target, known)
        return gather(choices, places, self.trust, CLOCK, (lambda _prompt: passphrase) if passphrase else None)

    def file(self, data: bytes) -> Path:
        path = self.directory / "id"
        path.write_bytes(data)
        return path

    def add(
        self,
        service: str = "notes",
        sealed_to: str = RECIPIENT,
        sign: SigningKey | None = None,
        *,
        signed: bool = True,
        data: bytes | None = None,
        created: dt.datetime = NOW - DAY,
    ) -> str:
        """An archive with all that its sidecar tells. sign: the key in place of this host's own one."""
        signer = (sign or self.trust.signing_key()) if signed else None
        whole = sealed() if data is None else data
        return add(
            self.store,
            created,
            service,
            data=whole,
            sign=signer,
            head=lambda head: replace(head, sealed_to=(sealed_to[:16],) if sealed_to else ()),
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def plain(identity: object = IDENTITY) -> bytes:
    return f"# mine\n{identity}\n".encode()


def protected(text: bytes) -> bytes:
    out = io.BytesIO()
    writer = EncryptWriter(out, [ScryptRecipient("words", 10)])
    writer.write(text)
    writer.close()
    return out.getvalue()


def test_when_all_is_well_nothing_is_wrong(desk: Desk) -> None:
    key = desk.add()
    kit = desk.kit(desk.file(plain()), (RECIPIENT,), ("notes",))
    assert kit.problems == ()
    assert kit.key is not None
    assert (kit.key.text, kit.key.recipients) == (plain().decode(), (RECIPIENT,))
    assert [signer.line for signer in kit.signers] == [desk.trust.signer_line()]
    assert [(item.service, item.archive) for item in kit.stores[0].services] == [("notes", key.rpartition("/")[2])]


Spoiler = Callable[[Desk], Kit]
OTHER = X25519Identity.generate(lambda size: bytes(range(size)))  # the same in every process: names of tests hold it


def _other_key(desk: Desk) -> Kit:
    desk.add()
    return desk.kit(desk.file(plain(OTHER)))


def _other_settings(desk: Desk) -> Kit:
    desk.add()
    return desk.kit(desk.file(plain()), (str(OTHER.recipient()),))


def _nothing_there(desk: Desk) -> Kit:
    return desk.kit(desk.file(plain()))


def _no_store(desk: Desk) -> Kit:
    desk.fails = True
    return desk.kit(desk.file(plain()))


def _never_backed_up(desk: Desk) -> Kit:
    desk.add()
    return desk.kit(desk.file(plain()), services=("notes", "wiki"))


def _unsigned(desk: Desk) -> Kit:
    desk.add(signed=False)
    return desk.kit(desk.file(plain()))


def _stranger(desk: Desk) -> Kit:
    desk.trust.signing_key()
    desk.add(sign=STRANGER)
    return desk.kit(desk.file(plain()))


def _nobody_is_trusted(desk: Desk) -> Kit:
    desk.add(sign=STRANGER)
    return desk.kit(desk.file(plain()))


def _passphrase(desk: Desk) -> Kit:
    desk.add(sealed_to="", data=make(some_files(2), recipients=[ScryptRecipient("words", 10)]))
    return desk.kit(desk.file(plain()))


def _incomplete(desk: Desk) -> Kit:
    identify(desk.store)
    add(desk.store, NOW, data=sealed()[:-1], sidecar=False)
    return desk.kit(desk.file(plain()))


def _damaged(desk: Desk) -> Kit:
    add_record(desk.store, desk.add(), RecordKind.DAMAGED, NOW, sign=desk.trust.signing_key())
    return desk.kit(desk.file(plain()))


@pytest.mark.parametrize(
    ("spoiler", "said"),
    [
        (_other_key, "notes of there: it is not encrypted to this key"),
        (_other_settings, f"backups made here are not encrypted to this key, but to {str(OTHER.recipient())[:16]}…"),
        (_nothing_there, "there is no archive in s3://bucket/prefix"),
        (_no_store, "s3://bucket/prefix could not be listed: nobody answers"),
        (_never_backed_up, "wiki is installed on there, and no archive of it was found"),
        (_unsigned, "notes of there: none of its archives can be chosen: its sidecar is not signed"),
        (_stranger, "notes of there: none of its archives can be chosen: it is signed by SHA256:"),
        (_nobody_is_trusted, "notes of there: it is signed by SHA256:"),
        (_passphrase, "notes of there: its passphrase is not on this page"),
        (_incomplete, "notes of there: none of its archives can be chosen: it is cut short"),
        (_damaged, "notes of there: none of its archives can be chosen: it was found damaged on 2026-03-01"),
    ],
)
def test_what_is_in_the_way_of_a_recovery_is_said(desk: Desk, spoiler: Spoiler, said: str) -> None:
    kit = spoiler(desk)
    (problem,) = kit.problems
    assert problem.startswith(said)
    text = html.unescape(page(desk, spoiler))
    notes = [item.note for store in kit.stores for item in store.services if item.note]
    assert len(notes) == said.startswith("notes of there")
    assert f"<li>{said}" in text
    assert ('<td class="note">it' in text or '<td class="note">none' in text) == bool(notes)


def page(desk: Desk, spoiler: Spoiler) -> str:
    """The page of the same kit, made on another desk."""
    directory = desk.directory / "again"
    directory.mkdir()
    write(spoiler(Desk(directory)), directory / "kit.html")
    return (directory / "kit.html").read_text()


def test_what_is_in_the_clear_needs_no_key(desk: Desk) -> None:
    desk.add(sealed_to="", data=clear())
    kit = desk.kit(desk.file(plain()))
    assert kit.problems == ()
    assert kit.stores[0].services[0].sealed_to == "nobody: in the clear"


@pytest.mark.parametrize("armor", [True, False])
@pytest.mark.parametrize("passphrase", ["words", ""])
def test_a_passphrase_on_an_identity_stays(desk: Desk, armor: bool, passphrase: str) -> None:
    desk.add()
    secret = protected(plain())
    kit = desk.kit(desk.file(armored(secret) if armor else secret), passphrase=passphrase)
    assert kit.key is not None
    assert (kit.key.protected, kit.key.recipients) == (True, (RECIPIENT,) if passphrase else ())
    assert [problem.partition(" to try")[0] for problem in kit.problems] == ([] if passphrase else ["nobody was there"])
    assert str(IDENTITY) not in kit.key.text
    (opened,) = parse_identities(kit.key.text.encode(), "the page", lambda: "words")
    assert str(opened) == str(IDENTITY)
    if armor:
        assert kit.key.text.encode() == armored(secret)


def test_a_passphrase_that_is_no_longer_known_shows_when_the_kit_is_made(desk: Desk) -> None:
    with pytest.raises(WrongKey, match="passphrase does not open"):
        desk.kit(desk.file(protected(plain())), passphrase="others")
    with pytest.raises(BadKey):
        desk.kit(desk.file(protected(plain())[:-1]), passphrase="words")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\n",
        b"\xff\xfe\n",
        RECIPIENT.encode(),
        protected(plain())[:180],
        armored(protected(plain()))[:-80],
        sealed(),
        plain() + b"#" * 7000 + b"\n",
    ],
    ids=["empty", "no-key", "no-text", "a-recipient", "cut", "cut-armor", "for-a-recipient", "too-long"],
)
def test_what_is_no_identity_file_is_refused_and_no_page_is_left(desk: Desk, data: bytes) -> None:
    target = desk.directory / "kit.html"
    with pytest.raises(BadKey) as refused:
        write(desk.kit(desk.file(data)), target)
    assert refused.value.hint
    assert not target.exists()


def test_a_page_is_its_owners_and_takes_nobodys_place(desk: Desk) -> None:
    kit, target = desk.kit(desk.file(plain())), desk.directory / "kit.html"
    write(kit, target)
    assert target.stat().st_mode & 0o777 == 0o600
    before = target.read_bytes()
    with pytest.raises(AlreadyExists):
        write(kit, target)
    assert target.read_bytes() == before


def test_a_page_loads_nothing_and_runs_nothing(desk: Desk) -> None:
    target = desk.directory / "kit.html"
    desk.add("<script>alert(1)</script>".replace("/", ""))
    write(desk.kit(desk.file(plain())), target)
    text = target.read_text()
    assert "default-src &#x27;none&#x27;" in text
    for mark in ("<script", "src=", "href=", "url(", "@import", "<link", "<img", "<iframe"):
        assert mark not in text


def test_a_kit_without_the_key_is_no_secret(desk: Desk) -> None:
    desk.add()
    kit, target = desk.kit(None, (str(HybridIdentity.generate().recipient()),)), desk.directory / "kit.html"
    write(kit, target)
    assert "AGE-SECRET-KEY" not in target.read_text()
    assert "not on this page. It is kept at" in target.read_text()
    assert "age 1.3" in kit.without_us[0].what
    assert not any("shred" in line for step in kit.checks for line in step.lines)


def test_every_signer_that_is_trusted_here_stands_on_it_once(desk: Desk) -> None:
    other = Trust(desk.directory / "other", "web2")
    desk.trust.add(other.signer_line())
    own = desk.trust.signer_line()
    desk.trust.add(own)
    lines = [signer.line for signer in desk.kit(desk.file(plain())).signers]
    assert lines == [own, other.signer_line()]


def test_a_host_that_has_services_but_no_signing_key_yet_gets_one_and_no_other_does(desk: Desk) -> None:
    assert desk.kit(desk.file(plain())).signers == ()
    assert not (desk.directory / "etc").exists()
    (signer,) = desk.kit(desk.file(plain()), services=("notes",)).signers
    assert signer.line == desk.trust.signer_line()


def test_the_newest_that_counts_is_on_the_page_and_not_what_others_added(desk: Desk) -> None:
    key = desk.add()
    desk.add(sign=STRANGER, created=NOW - HOUR)
    desk.add(signed=False, created=NOW)
    kit = desk.kit(desk.file(plain()))
    assert kit.problems == ()
    assert [item.archive for item in kit.stores[0].services] == [key.rpartition("/")[2]]


@pytest.mark.parametrize("principals", ["there", "web*", "a,b", "ssh-ed25519"])
def test_the_lines_that_trust_signers_are_accepted_by_another_host(desk: Desk, principals: str) -> None:
    line = STRANGER.public().allowed_line(principals)
    line = " ".join(line.split()[-2:]) if principals == "ssh-ed25519" else line
    desk.trust.add(line, pattern=principals != "there")
    (step,) = [step for step in desk.kit(desk.file(plain())).with_us if any("key trust" in text for text in step.lines)]
    for text in step.lines:
        words = shlex.split(text)[3:]
        pattern = "--pattern" in words
        (typed,) = [word for word in words if word != "--pattern"]
        added = Trust(desk.directory / "new", "new").add(typed, pattern=pattern)
        assert added.key == STRANGER.public()


def test_a_retired_key_is_on_the_page_with_its_end(desk: Desk) -> None:
    old, new = desk.trust.rotate(NOW)
    lines = {signer.fingerprint: signer.line for signer in desk.kit(desk.file(plain())).signers}
    assert set(lines) == {old.fingerprint, new.fingerprint}
    assert "valid-before=" in lines[old.fingerprint]


def _archive(desk: Desk, key: str = "") -> Archive:
    desk.add()
    (found,) = catalog(desk.store, by=desk.trust.host_signers(NOW)).archives
    return replace(found, key=key) if key else found


@pytest.mark.parametrize(
    ("address", "restore", "fetch"),
    [
        (
            "s3://bucket/a/b?endpoint=https://s3.test:90&path_style=yes&lock=governance&timeout=5&region=eu",
            "drunner-vault restore 's3://bucket/a/b/there?endpoint=https://s3.test:90&path_style=yes&region=eu' {rest}",
            "aws s3 cp s3://bucket/a/b/{key} . --endpoint-url https://s3.test:90 --region eu",
        ),
        ("s3://bucket", "drunner-vault restore s3://bucket/there {rest}", "aws s3 cp s3://bucket/{key} ."),
        (
            "ssh://me@offsite:2222/srv/backups",
            "drunner-vault restore ssh://me@offsite:2222/srv/backups/there {rest}",
            "sftp -P 2222 me@offsite:/srv/backups/{key}",
        ),
        (
            "ssh://offsite/~/backups",
            "drunner-vault restore 'ssh://offsite/~/backups/there' {rest}",
            "sftp offsite:backups/{key}",
        ),
        (
            "file:///mnt/old%20backups",
            "drunner-vault restore '/mnt/old backups/there' {rest}",
            "cp '/mnt/old backups/{key}' .",
        ),
    ],
)
def test_lines_to_type_know_no_settings_of_this_host(desk: Desk, address: str, restore: str, fetch: str) -> None:
    item, place = _archive(desk), Place(parse_url(address))
    assert place.restore(item) == restore.format(rest="notes -i key.txt")
    assert place.fetch(item) == fetch.format(key=item.key)


def test_what_this_host_has_from_its_environment_stands_on_the_page(desk: Desk) -> None:
    desk.add()
    known = {"AWS_ENDPOINT_URL": "https://s3.test", "AWS_DEFAULT_REGION": "eu", "AWS_SECRET_ACCESS_KEY": "hidden"}
    (store,) = desk.kit(environment=known).stores
    assert store.url == "s3://bucket/prefix?endpoint=https://s3.test&region=eu"


def test_the_line_that_fetches_over_ssh_fetches(desk: Desk, tmp_path: Path) -> None:
    item, directory = _archive(desk), tmp_path / "the backups"
    (directory / item.key).parent.mkdir(parents=True)
    (directory / item.key).write_bytes(sealed())
    (tmp_path / "here").mkdir()
    with ssh_server(tmp_path / "sshd") as server:
        place = Place(Address("ssh", HOST, str(directory)))
        sftp = f"sftp -F {server.directory}/ssh_config"
        for line in (place.fetch(item), place.list()):
            command = line.replace("sftp", sftp, 1)
            subprocess.run(["bash", "-c", command], cwd=tmp_path / "here", check=True, capture_output=True, input=b"")
    assert (tmp_path / "here" / item.name).read_bytes() == sealed()


def test_an_archive_that_lies_elsewhere_in_its_store_is_named_by_itself(desk: Desk) -> None:
    item = _archive(desk, "saved/notes-20260228T120000Z.tar.zst.age")
    line = Place(parse_url("s3://bucket")).restore(item)
    assert line == "drunner-vault restore s3://bucket/saved/notes-20260228T120000Z.tar.zst.age notes -i key.txt"


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/with%20space/and%3Fmark%23?endpoint=https://e:1/p",
        "ssh://me@[fe80::1]:22/srv",
        "ssh://offsite/~/a%25b",
        "s3://bucket?region=eu&path_style=no",
    ],
)
def test_a_url_on_the_page_means_the_same_place(text: str) -> None:
    address = parse_url(text)
    assert parse_url(url(address)) == address
    assert shlex.split(shlex.quote(url(address))) == [url(address)]
