"""Which keys count, and which exclude each other."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest

from drunner_vault.age import EncryptWriter, ScryptRecipient, X25519Identity
from drunner_vault.errors import BadKey, BadUsage, KeyProblem, NoKey, NotAnArchive, NotFound, WrongKey
from drunner_vault.workflows.keys import identities, opened, passphrase, recipients

ONE, TWO = X25519Identity.generate(), X25519Identity.generate()
PUBLIC = str(ONE.recipient())
NOTHING: Mapping[str, str] = {}
ZSTD = b"\x28\xb5\x2f\xfd the rest of a zstd stream"


def found(given: list[str], files: list[Path], settings: list[str], env: Mapping[str, str]) -> list[str]:
    return [type(one).__name__ for one in recipients(given, files, settings, env, unencrypted=False)]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "recipients"
    path.write_text(f"# ours\n{PUBLIC}\n{TWO.recipient()}\n")
    return path


def test_what_is_given_counts_before_what_is_set(key_file: Path) -> None:
    assert found([PUBLIC], [], [], NOTHING) == ["X25519Recipient"]
    assert found([PUBLIC], [key_file], [str(TWO.recipient())], NOTHING) == ["X25519Recipient"] * 3
    assert found([], [], [PUBLIC], NOTHING) == ["X25519Recipient"]
    assert found([], [], [PUBLIC], {"PASS": "secret"}) == ["ScryptRecipient"]


def test_nothing_is_written_in_the_clear_by_accident() -> None:
    for env in (NOTHING, {"PASS": ""}, {"DRUNNER_PASSPHRASE": "", "PASS": ""}):
        with pytest.raises(NoKey):
            recipients([], [], [], env, unencrypted=False)
    assert recipients([], [], [PUBLIC], {"PASS": "x"}, unencrypted=True) == []


def test_what_excludes_each_other_is_refused(key_file: Path) -> None:
    with pytest.raises(BadUsage):
        recipients([PUBLIC], [], [], NOTHING, unencrypted=True)
    with pytest.raises(BadUsage):
        recipients([], [key_file], [], NOTHING, unencrypted=True)
    with pytest.raises(BadUsage, match="passphrase") as refused:
        recipients([PUBLIC], [], [], {"DRUNNER_PASSPHRASE": "hidden words"}, unencrypted=False)
    assert "DRUNNER_PASSPHRASE" in refused.value.hint
    assert "hidden" not in refused.value.hint + refused.value.message


def test_a_passphrase_is_found_where_it_may_be(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes("größer\r\nsecond line\n".encode())
    file = {"DRUNNER_PASSPHRASE_FILE": str(path)}
    assert passphrase(NOTHING) is None
    assert passphrase({"PASS": "one"}) == "one"
    assert passphrase(file) == "größer"
    assert passphrase({**file, "PASS": "one"}) == "größer"
    assert passphrase({**file, "DRUNNER_PASSPHRASE": "two", "PASS": "one"}) == "two"


@pytest.mark.parametrize("content", [b"", b"\nsecond line", b"\xff\xfe\n"])
def test_a_passphrase_file_that_holds_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(BadKey, match="passphrase file"):
        passphrase({"DRUNNER_PASSPHRASE_FILE": str(tmp_path / "p")})


def test_key_files_that_are_missing_are_named(tmp_path: Path) -> None:
    for attempt in (
        lambda: recipients([], [tmp_path / "no"], [], NOTHING, unencrypted=False),
        lambda: identities([tmp_path / "no"], NOTHING, None),
        lambda: passphrase({"DRUNNER_PASSPHRASE_FILE": str(tmp_path / "no")}),
    ):
        with pytest.raises(NotFound, match="no"):
            attempt()


def closed(recipient: object, content: bytes = ZSTD) -> bytes:
    out = io.BytesIO()
    writer = EncryptWriter(out, [recipient])  # type: ignore[list-item]
    writer.write(content)
    writer.close()
    return out.getvalue()


def open_up(data: bytes, keys: list[object], ask: object = None) -> bytes:
    stream = opened(io.BytesIO(data).read, "the archive", lambda: keys, ask)  # type: ignore[arg-type, return-value]
    return b"".join(iter(lambda: stream.read(7), b""))


def test_an_archive_opens_with_a_right_key_among_others() -> None:
    assert open_up(closed(ONE.recipient()), [TWO, ONE]) == ZSTD
    assert open_up(ZSTD, []) == ZSTD


def test_a_wrong_key_and_none_are_told_apart() -> None:
    with pytest.raises(WrongKey):
        open_up(closed(ONE.recipient()), [TWO])
    with pytest.raises(NoKey):
        open_up(closed(ONE.recipient()), [])


def test_a_person_is_asked_only_for_what_opens_by_passphrase() -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return "words"

    secret = closed(ScryptRecipient("words", 10))
    assert open_up(secret, [], ask) == ZSTD
    assert asked == ["Passphrase of the archive"]
    with pytest.raises(KeyProblem):
        open_up(secret, [], None)
    with pytest.raises(NoKey):
        open_up(closed(ONE.recipient()), [], ask)
    assert len(asked) == 1


@pytest.mark.parametrize("data", [b"", b"hello", b"\x28\xb5\x2f", bytes(1000)])
def test_what_was_never_an_archive_is_named_so(data: bytes) -> None:
    with pytest.raises(NotAnArchive, match="the archive"):
        open_up(data, [ONE])


def test_identities_come_from_files_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"# a comment\n{ONE}\n{TWO}\n")
    names = [type(one).__name__ for one in identities([tmp_path / "key"], {"PASS": "x"}, None)]
    assert names == ["X25519Identity", "X25519Identity", "ScryptIdentity"]
    assert identities([], NOTHING, None) == []
