"""Keys as people write them, the rules for mixing them, and what is said when none of them fits."""

from __future__ import annotations

import base64
import io
import subprocess
from collections.abc import Sequence

import pytest
from age_helpers import armor, decrypt, encrypt, predictable

from drunner_vault.age import (
    DecryptReader,
    EncryptWriter,
    HybridIdentity,
    Identity,
    Recipient,
    ScryptIdentity,
    ScryptRecipient,
    Stanza,
    X25519Identity,
    X25519Recipient,
    parse_identities,
    parse_recipient,
    parse_recipients_file,
)
from drunner_vault.errors import BadKey, DamagedArchive, KeyProblem, NoKey, WrongKey

IDENTITY = X25519Identity.generate(predictable())  # the same in every process: names of tests hold it
HYBRID = HybridIdentity.generate(predictable())


def test_age_keygen_agrees_on_which_recipient_belongs_to_an_identity() -> None:
    printed = subprocess.run(["age-keygen", "-y"], input=str(IDENTITY), capture_output=True, text=True, check=True)
    assert str(IDENTITY.recipient()) == printed.stdout.strip()


def test_a_file_by_age_keygen_is_read() -> None:
    made = subprocess.run(["age-keygen"], capture_output=True, check=True).stdout
    [identity] = parse_identities(made, "key.txt")
    assert str(identity).encode() in made
    assert isinstance(identity, X25519Identity)
    assert str(identity.recipient()).encode() in made


@pytest.mark.parametrize("identity", [IDENTITY, HYBRID])
def test_keys_survive_being_written_down(identity: X25519Identity | HybridIdentity) -> None:
    assert parse_identities(str(identity).encode(), "here") == [identity]
    assert parse_recipient(f" {identity.recipient()}\n") == identity.recipient()


@pytest.mark.parametrize("kind", [X25519Identity, HybridIdentity])
def test_generating_uses_the_randomness_it_is_given(kind: type[X25519Identity] | type[HybridIdentity]) -> None:
    assert kind.generate(predictable()) == kind.generate(predictable())
    assert kind.generate() != kind.generate()


PASSPHRASE = "correct horse battery"
SECRETS = [str(IDENTITY), str(HYBRID), IDENTITY.secret.hex(), HYBRID.seed.hex(), PASSPHRASE]


@pytest.mark.parametrize("key", [IDENTITY, HYBRID, ScryptIdentity(PASSPHRASE), ScryptRecipient(PASSPHRASE, 1)])
def test_repr_shows_no_secret(key: object) -> None:
    shown = repr(key) + repr([key]) + f"{key!r}"
    assert type(key).__name__ in shown
    for secret in (*SECRETS, repr(IDENTITY.secret), repr(HYBRID.seed)):
        assert secret not in shown


def corrupted(text: str) -> str:
    return text[:-1] + ("Q" if text[-1] != "Q" else "P")


@pytest.mark.parametrize(
    "text",
    [
        str(IDENTITY),
        str(IDENTITY).lower(),
        str(HYBRID),
        corrupted(str(IDENTITY)),
        "age1" + str(IDENTITY)[15:].lower(),
        "AGE1" + str(IDENTITY)[15:],
        PASSPHRASE,
        "age1" + PASSPHRASE,
    ],
)
def test_a_secret_in_the_place_of_a_recipient_is_refused_and_never_quoted(text: str) -> None:
    errors = []
    with pytest.raises(BadKey) as one:
        parse_recipient(text)
    with pytest.raises(BadKey, match="list, line 2: ") as in_file:
        parse_recipients_file(f"# comment\n{text}\n", "list")
    errors += [one.value, in_file.value, one.value.__cause__, in_file.value.__cause__]
    for error in errors:
        for secret in (text, str(IDENTITY)[15:], str(IDENTITY)[15:].lower(), PASSPHRASE):
            assert secret not in f"{error!r} {getattr(error, 'hint', '')}"


def test_an_identity_in_the_place_of_a_recipient_is_recognised() -> None:
    with pytest.raises(BadKey, match="an identity, which is secret") as caught:
        parse_recipient(str(IDENTITY))
    assert "age-keygen -y" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "SSH keys are not supported"),
        ("", "does not begin with age1"),
        ("hello", "does not begin with age1"),
        (str(IDENTITY.recipient())[:-1], "mistyped or cut short"),
        (str(IDENTITY.recipient()).upper(), "lower case"),
        (str(X25519Recipient(bytes(32))).replace("age1", "age1yubikey1"), "checksum"),
    ],
)
def test_a_recipient_that_cannot_be_used_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(BadKey, match=message):
        parse_recipient(text)


def test_a_plugin_recipient_is_named() -> None:
    from drunner_vault.age import bech32

    with pytest.raises(BadKey, match="the age plugin yubikey are not supported"):
        parse_recipient(bech32.encode("age1yubikey", bytes(33)))
    with pytest.raises(BadKey, match="holds 32 bytes, and this one 31"):
        parse_recipient(bech32.encode("age", bytes(31)))
    with pytest.raises(BadKey, match="holds 1,216 bytes, and this one 31"):
        parse_recipient(bech32.encode("age1pq", bytes(31)))


def test_a_recipients_file_may_hold_comments_and_blank_lines() -> None:
    text = f"# ops\n\n{IDENTITY.recipient()}\r\n  # indented\n  {HYBRID.recipient()}  \n"
    assert parse_recipients_file(text, "list") == [IDENTITY.recipient(), HYBRID.recipient()]


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody\n"])
def test_a_file_without_any_key_is_an_error(text: str) -> None:
    with pytest.raises(BadKey, match="list holds no recipient"):
        parse_recipients_file(text, "list")
    with pytest.raises(BadKey, match=r"key\.txt holds no identity"):
        parse_identities(text.encode(), "key.txt")


def test_an_identity_file_may_hold_several_identities_and_comments() -> None:
    other = X25519Identity.generate()
    data = f"# created: today\n# public key: age1…\n{IDENTITY}\r\n\n{HYBRID}\n{other}".encode()
    assert parse_identities(data, "key.txt") == [IDENTITY, HYBRID, other]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (str(IDENTITY.recipient()), "a recipient, which opens nothing"),
        (corrupted(str(IDENTITY)), "checksum"),
        (str(IDENTITY).lower(), "does not begin with"),
        ("AGE-PLUGIN-YUBIKEY-1QQQQQQ", "plugins are not supported"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "SSH"),
        (PASSPHRASE, "does not begin with"),
        ("AGE-SECRET-KEY-OTHER-1QQQQQQQQ", "checksum"),
    ],
)
def test_an_identity_that_cannot_be_used_is_named_by_its_line_and_never_quoted(line: str, message: str) -> None:
    with pytest.raises(BadKey, match=rf"key\.txt, line 3: .*{message}") as caught:
        parse_identities(f"# comment\n{HYBRID}\n{line}\n".encode(), "key.txt")
    assert line not in f"{caught.value!r} {caught.value.hint} {caught.value.__cause__!r}"


def test_identities_of_an_unknown_kind_or_length_are_refused() -> None:
    from drunner_vault.age import bech32

    for prefix, size, message in [
        ("AGE-SECRET-KEY-NEW-", 32, "of no kind that is supported"),
        ("AGE-SECRET-KEY-", 31, "holds 32 bytes, and this one 31"),
        ("AGE-SECRET-KEY-PQ-", 33, "holds 32 bytes, and this one 33"),
    ]:
        with pytest.raises(BadKey, match=message):
            parse_identities(bech32.encode(prefix, bytes(size)).encode(), "key.txt")


@pytest.mark.parametrize("data", [b"\xff\xfe binary", bytes(17 * 1024 * 1024)])
def test_what_is_no_identity_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadKey) as caught:
        parse_identities(data, "key.txt")
    assert caught.value.__cause__ is None


def encrypted_key_file(armored: bool) -> bytes:
    data = encrypt(f"# mine\n{IDENTITY}\n".encode(), ScryptRecipient(PASSPHRASE, 4))
    return armor(data) if armored else data


@pytest.mark.parametrize("armored", [False, True])
def test_an_identity_file_may_be_encrypted_with_a_passphrase(armored: bool) -> None:
    asked = []

    def passphrase() -> str:
        asked.append(1)
        return PASSPHRASE

    assert parse_identities(encrypted_key_file(armored), "key.age", passphrase) == [IDENTITY]
    assert asked == [1]


def test_the_passphrase_is_not_asked_for_a_plain_file() -> None:
    def passphrase() -> str:
        raise AssertionError("asked")

    assert parse_identities(str(IDENTITY).encode(), "key.txt", passphrase) == [IDENTITY]


def test_an_encrypted_identity_file_that_does_not_open_says_why() -> None:
    data = encrypted_key_file(False)
    with pytest.raises(NoKey, match=r"key\.age is encrypted with a passphrase"):
        parse_identities(data, "key.age")
    with pytest.raises(WrongKey, match=r"the passphrase does not open key\.age"):
        parse_identities(data, "key.age", lambda: "another")
    with pytest.raises(BadKey, match=r"key\.age cannot be decrypted"):
        parse_identities(data[:-1], "key.age", lambda: PASSPHRASE)
    with pytest.raises(BadKey, match="not with a passphrase"):
        parse_identities(encrypt(b"", IDENTITY.recipient()), "key.age", lambda: PASSPHRASE)
    with pytest.raises(BadKey, match=r"key\.age is not an identity file: it is not text"):
        parse_identities(encrypt(data, ScryptRecipient(PASSPHRASE, 2)), "key.age", lambda: PASSPHRASE)


def test_an_archive_without_recipients_is_never_written() -> None:
    sink = io.BytesIO()
    with pytest.raises(NoKey):
        EncryptWriter(sink, [])
    assert sink.getvalue() == b""


@pytest.mark.parametrize(
    ("recipients", "message"),
    [
        ([IDENTITY.recipient(), HYBRID.recipient()], "post-quantum recipients cannot be mixed"),
        ([ScryptRecipient("a", 2), IDENTITY.recipient()], "a passphrase must be the only recipient"),
        ([ScryptRecipient("a", 2), HYBRID.recipient()], "a passphrase must be the only recipient"),
        ([ScryptRecipient("a", 2), ScryptRecipient("a", 2)], "a passphrase must be the only recipient"),
    ],
)
def test_recipients_that_would_weaken_each_other_are_not_mixed(recipients: list[Recipient], message: str) -> None:
    sink = io.BytesIO()
    with pytest.raises(BadKey, match=message):
        EncryptWriter(sink, recipients)
    assert sink.getvalue() == b""


class Unlabelled:
    """A recipient of another program, which does not keep our rule for mixing."""

    labels: frozenset[str] = frozenset()

    def __init__(self, recipient: Recipient) -> None:
        self._recipient = recipient

    def wrap(self, file_key: bytes) -> Stanza:
        return self._recipient.wrap(file_key)


def test_a_mix_of_post_quantum_and_classic_by_another_program_is_read() -> None:
    data = encrypt(b"both", Unlabelled(HYBRID.recipient()), Unlabelled(IDENTITY.recipient()))
    assert decrypt(data, IDENTITY) == b"both"
    assert decrypt(data, HYBRID) == b"both"


def test_a_passphrase_beside_another_recipient_is_refused_whatever_key_is_held() -> None:
    data = encrypt(b"", Unlabelled(ScryptRecipient("a", 2)), Unlabelled(IDENTITY.recipient()))
    for identity in (IDENTITY, ScryptIdentity("a")):
        with pytest.raises(DamagedArchive, match="mixes a passphrase"):
            decrypt(data, identity)


def test_stanzas_of_unknown_kinds_are_passed_over() -> None:
    class Grease:
        labels: frozenset[str] = frozenset()

        def wrap(self, file_key: bytes) -> Stanza:
            return Stanza("grease-x", ("1", "2"), bytes(7))

    assert decrypt(encrypt(b"yes", Grease(), IDENTITY.recipient()), IDENTITY) == b"yes"


@pytest.mark.parametrize(
    ("recipient", "identities", "error", "message", "hint"),
    [
        (IDENTITY.recipient(), [], NoKey, "of kind X25519, and none was given", "-i FILE"),
        (IDENTITY.recipient(), [X25519Identity.generate()], WrongKey, "none of the identities given fits", "-i FILE"),
        (IDENTITY.recipient(), [HYBRID], WrongKey, "of kind X25519, and none of the identities", "-i FILE"),
        (HYBRID.recipient(), [HybridIdentity.generate()], WrongKey, "of kind mlkem768x25519", "-i FILE"),
        (IDENTITY.recipient(), [ScryptIdentity("a")], WrongKey, "a passphrase was given", "-i FILE"),
        (ScryptRecipient("a", 2), [], NoKey, "with a passphrase, and none was given", "set DRUNNER_PASSPHRASE"),
        (ScryptRecipient("a", 2), [IDENTITY], WrongKey, "only identities were given", "set DRUNNER_PASSPHRASE"),
        (ScryptRecipient("a", 2), [ScryptIdentity("b")], WrongKey, "another one was given", "set DRUNNER_PASSPHRASE"),
    ],
)
def test_when_no_key_fits_the_error_says_what_the_file_wants(
    recipient: Recipient, identities: Sequence[Identity], error: type[KeyProblem], message: str, hint: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        DecryptReader(io.BytesIO(encrypt(b"", recipient)), identities)
    assert hint in caught.value.hint


def test_the_identity_that_fits_is_found_among_several() -> None:
    others: list[Identity] = [X25519Identity.generate(), HYBRID, ScryptIdentity("a")]
    assert decrypt(encrypt(b"found", IDENTITY.recipient()), *others, IDENTITY) == b"found"


def test_a_recipient_of_low_order_is_refused_before_anything_is_written() -> None:
    with pytest.raises(BadKey, match="low order"):
        encrypt(b"", X25519Recipient(bytes(32)))


class Fixed:
    """A recipient of another program, which writes whatever stanza it likes."""

    labels: frozenset[str] = frozenset()

    def __init__(self, *arguments: str, body: int = 32) -> None:
        self._stanza = Stanza("X25519", arguments, bytes(body))

    def wrap(self, file_key: bytes) -> Stanza:
        return self._stanza


SHARE = str(base64.b64encode(X25519Identity.generate().recipient().public).rstrip(b"="), "ascii")


def test_a_stanza_for_someone_else_is_passed_over() -> None:
    with pytest.raises(WrongKey):
        decrypt(encrypt(b"", Fixed(SHARE)), IDENTITY)


@pytest.mark.parametrize(
    "stanza",
    [
        Fixed(),
        Fixed(SHARE, "x"),
        Fixed(SHARE, body=31),
        Fixed(SHARE, body=33),
        Fixed("A" * 42),
        Fixed("A" * 44),
        Fixed(SHARE[:-1] + "B"),
        Fixed(SHARE + "="),
        Fixed("A" * 43),
        Fixed("AQ" + "A" * 41),
    ],
)
def test_a_malformed_x25519_stanza_is_damage(stanza: Fixed) -> None:
    with pytest.raises(DamagedArchive, match="an X25519 stanza"):
        decrypt(encrypt(b"", stanza), IDENTITY)
