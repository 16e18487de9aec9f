"""Both ways with age-encryption, the implementation of age in TypeScript, which also knows post-quantum keys."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from drunner_vault.age import (
    DecryptReader,
    EncryptWriter,
    HybridIdentity,
    Identity,
    Recipient,
    ScryptIdentity,
    ScryptRecipient,
    X25519Identity,
    parse_identities,
    parse_recipient,
)

PACKAGE = "age-encryption@0.3.1"
PASSPHRASE = "correct horse battery"
SIZES = [0, 1, 65535, 65536, 65537, 131072, 300_000]

# Reads a request from the first argument and files from the current folder: {do, key, recipient, passphrase}.
PROGRAM = """
import * as age from "age-encryption";
import { readFileSync, writeFileSync } from "node:fs";
const ask = JSON.parse(process.argv[2]);
const work = {
  async encrypt() {
    const to = new age.Encrypter();
    if (ask.passphrase) { to.setPassphrase(ask.passphrase); to.setScryptWorkFactor(10); }
    for (const recipient of ask.recipients ?? []) to.addRecipient(recipient);
    const armored = (data) => ask.armored ? new TextEncoder().encode(age.armor.encode(data)) : data;
    writeFileSync("out", armored(await to.encrypt(new Uint8Array(readFileSync("in")))));
  },
  async decrypt() {
    const from = new age.Decrypter();
    if (ask.passphrase) from.addPassphrase(ask.passphrase);
    if (ask.identity) from.addIdentity(ask.identity);
    writeFileSync("out", await from.decrypt(new Uint8Array(readFileSync("in"))));
  },
  async generate() {
    const identity = ask.hybrid ? await age.generateHybridIdentity() : await age.generateX25519Identity();
    writeFileSync("out", JSON.stringify([identity, await age.identityToRecipient(identity)]));
  },
};
await work[ask.do]();
"""

Peer = Callable[..., bytes]


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Peer:
    """Has the other implementation do one thing to some bytes."""
    folder = tmp_path_factory.mktemp("npm")
    run(folder, "npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE)
    (folder / "peer.mjs").write_text(PROGRAM)

    def ask(data: bytes = b"", **request: object) -> bytes:
        (folder / "in").write_bytes(data)
        run(folder, "node", "peer.mjs", json.dumps(request))
        return (folder / "out").read_bytes()

    return ask


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def sample(size: int) -> bytes:
    return bytes((index * 7 + (index >> 8) * 13) & 0xFF for index in range(size))


def encrypt(data: bytes, *recipients: Recipient) -> bytes:
    sink = io.BytesIO()
    writer = EncryptWriter(sink, recipients)
    writer.write(data)
    writer.close()
    return sink.getvalue()


def decrypt(data: bytes, identity: Identity) -> bytes:
    return DecryptReader(io.BytesIO(data), [identity]).read()


IDENTITIES = [X25519Identity.generate(), HybridIdentity.generate()]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("identity", IDENTITIES, ids=["X25519", "post-quantum"])
def test_they_read_what_we_write(peer: Peer, identity: X25519Identity | HybridIdentity, size: int) -> None:
    data = encrypt(sample(size), identity.recipient())
    assert peer(data, do="decrypt", identity=str(identity)) == sample(size)


@pytest.mark.parametrize("armored", [False, True])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("identity", IDENTITIES, ids=["X25519", "post-quantum"])
def test_we_read_what_they_write(
    peer: Peer, identity: X25519Identity | HybridIdentity, size: int, armored: bool
) -> None:
    data = peer(sample(size), do="encrypt", recipients=[str(identity.recipient())], armored=armored)
    assert decrypt(data, identity) == sample(size)


@pytest.mark.parametrize("size", [0, 65536, 100_000])
def test_passphrases_work_both_ways(peer: Peer, size: int) -> None:
    ours = encrypt(sample(size), ScryptRecipient(PASSPHRASE, 10))
    assert peer(ours, do="decrypt", passphrase=PASSPHRASE) == sample(size)
    theirs = peer(sample(size), do="encrypt", passphrase=PASSPHRASE)
    assert decrypt(theirs, ScryptIdentity(PASSPHRASE)) == sample(size)


def test_several_recipients_work_both_ways(peer: Peer) -> None:
    for kind in (X25519Identity, HybridIdentity):
        identities = [kind.generate() for _ in range(3)]
        recipients = [identity.recipient() for identity in identities]
        ours = encrypt(b"shared", *recipients)
        theirs = peer(b"shared", do="encrypt", recipients=[str(recipient) for recipient in recipients])
        for identity in identities:
            assert peer(ours, do="decrypt", identity=str(identity)) == b"shared"
            assert decrypt(theirs, identity) == b"shared"


@pytest.mark.parametrize("hybrid", [False, True])
def test_keys_they_make_are_the_keys_we_read(peer: Peer, hybrid: bool) -> None:
    text, recipient = json.loads(peer(do="generate", hybrid=hybrid))
    [identity] = parse_identities(text.encode(), "theirs")
    assert isinstance(identity, HybridIdentity if hybrid else X25519Identity)
    assert str(identity) == text
    assert str(identity.recipient()) == recipient
    assert parse_recipient(recipient) == identity.recipient()
