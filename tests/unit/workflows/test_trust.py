"""Which keys a host trusts, and what that makes of archives in stores."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from support.catalogs import HOST, HOUR, NOW, Hands, Watched, add, catalog, key_of, sealed, sidecar_of

from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.errors import BadKey, BadUsage, NoChange, WrongKey
from drunner_vault.signing import SigningKey, parse_allowed_signer
from drunner_vault.stores.store import Store, put
from drunner_vault.workflows.trust import Named, Trust, require_trusted

LATER = NOW + 2 * HOUR


@pytest.fixture
def here(tmp_path: Path) -> Trust:
    return Trust(tmp_path / "here", "here")


@pytest.fixture
def there(tmp_path: Path) -> Trust:
    return Trust(tmp_path / "there", HOST)


def allowed(tmp_path: Path, host: str = "here") -> list[str]:
    """The lines of a host's file of allowed signers."""
    return (tmp_path / host / "allowed_signers").read_text().splitlines()


def listed(store: Store, trust: Trust, now: dt.datetime = LATER) -> dict[str, Archive]:
    """The archives of a store by key, as a host sees them."""
    return {item.key: item for item in catalog(store, by=trust.host_signers(now), now=now).archives}


def test_a_host_trusts_itself_and_the_signers_that_were_added(here: Trust, there: Trust) -> None:
    signature = there.signing_key().sign(b"root")
    assert there.sender(b"root", signature, HOST).trusted
    assert not here.sender(b"root", signature, HOST).trusted
    added = here.add(there.signer_line())
    assert (added.key, added.principals) == (there.signing_key().public(), (HOST,))
    sender = here.sender(b"root", signature, HOST)
    assert (sender.trusted, sender.accepted, sender.retired) == (True, True, None)
    assert not here.sender(b"root", signature, "elsewhere").trusted
    with pytest.raises(NoChange, match=f"trusted already for {HOST}"):
        here.add(there.signer_line())


def test_an_archive_nobody_signed_is_refused_with_the_way_out(here: Trust) -> None:
    with pytest.raises(WrongKey) as refused:
        require_trusted(here.sender(b"root", None, HOST), "the archive")
    assert "--any-sender" in refused.value.hint


def test_the_signing_key_stays_the_same_and_private(here: Trust, tmp_path: Path) -> None:
    assert here.signer_line() == here.signer_line()
    assert (tmp_path / "here" / "signing_key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("principals", ["*", "web*", "web?", "a,b", "a,!b", "[ab]"])
def test_a_line_for_several_hosts_is_only_taken_as_a_pattern_and_opens_archives_only(
    here: Trust, tmp_path: Path, principals: str
) -> None:
    key = SigningKey.generate()
    line = key.public().allowed_line(principals)
    with pytest.raises(BadUsage, match="names more than one host") as refused:
        here.add(line)
    assert "--pattern" in refused.value.hint
    assert not (tmp_path / "here").exists()
    assert not here.add(line, pattern=True).is_literal
    assert allowed(tmp_path) == [line]
    assert not here.host_signers(NOW).accepts(key.public(), principals)


def test_a_public_key_alone_is_only_taken_as_a_pattern_and_opens_archives_of_every_host(
    here: Trust, there: Trust
) -> None:
    public = " ".join(there.signer_line().split()[-2:]) + " a comment"
    with pytest.raises(BadUsage, match="does not name a host"):
        here.add(public)
    here.add(public, pattern=True)
    sender = here.sender(b"root", there.signing_key().sign(b"root"), "anything")
    assert (sender.trusted, sender.accepted) == (True, False)
    assert not here.host_signers(NOW).accepts(there.signing_key().public(), "anything")


def test_a_retired_key_is_trusted_for_what_appeared_before_only(here: Trust, there: Trust, tmp_path: Path) -> None:
    here.add(there.signer_line())
    (line,) = here.retire(there.signing_key().public().fingerprint, NOW)
    assert line.valid_before == NOW
    assert parse_allowed_signer(allowed(tmp_path)[0]) == line
    signature = there.signing_key().sign(b"root")
    assert here.sender(b"root", signature, HOST, NOW - HOUR).trusted
    assert not here.sender(b"root", signature, HOST, NOW + HOUR).trusted
    unknown = here.sender(b"root", signature, HOST)
    assert (unknown.trusted, unknown.retired) == (False, NOW)
    with pytest.raises(WrongKey, match="retired on 2026-03-01"):
        require_trusted(unknown, "the archive")


def test_a_key_is_retired_by_its_line_too_and_other_lines_stay_as_they_are(
    here: Trust, there: Trust, tmp_path: Path
) -> None:
    other = SigningKey.generate().public().allowed_line("other")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "allowed_signers").write_text(f"# mine\n\n{there.signer_line()}\n{other}\n")
    here.retire(there.signer_line(), NOW)
    comment, empty, line, kept = allowed(tmp_path)
    assert (comment, empty, kept) == ("# mine", "", other)
    assert parse_allowed_signer(line).valid_before == NOW


def test_all_lines_of_a_key_are_retired(here: Trust, there: Trust) -> None:
    public = there.signing_key().public()
    for host in (HOST, "other"):
        here.add(public.allowed_line(host))
    assert {line.principals for line in here.retire(public.fingerprint, NOW)} == {(HOST,), ("other",)}
    assert all(line.valid_before == NOW for line in here.signers())


def test_a_line_of_the_settings_is_retired_by_a_further_line(there: Trust, tmp_path: Path) -> None:
    public = there.signing_key().public()
    here = Trust(tmp_path / "here", "here", Named((there.signer_line(),), "vault.toml, line 1"))
    assert here.host_signers(NOW).is_current(public, HOST)
    here.retire(public.fingerprint, NOW)
    assert [parse_allowed_signer(line).valid_before for line in allowed(tmp_path)] == [NOW]
    assert not here.host_signers(LATER).is_current(public, HOST)
    assert here.host_signers(LATER).accepts(public, HOST, NOW - HOUR)
    assert not here.host_signers(LATER).accepts(public, HOST, NOW + HOUR)
    assert not here.sender(b"root", there.signing_key().sign(b"root"), HOST, NOW + HOUR).trusted
    with pytest.raises(NoChange):
        here.retire(public.fingerprint, LATER)


def test_a_key_is_retired_once(here: Trust, there: Trust, tmp_path: Path) -> None:
    here.add(there.signer_line())
    here.retire(there.signer_line(), NOW)
    before = allowed(tmp_path)
    with pytest.raises(NoChange, match="is retired already"):
        here.retire(there.signer_line(), LATER)
    assert allowed(tmp_path) == before


def test_what_cannot_be_retired_is_refused_with_the_way_out(here: Trust, there: Trust) -> None:
    with pytest.raises(BadUsage, match="own key") as own:
        here.retire(here.signing_key().public().fingerprint, NOW)
    assert "key rotate" in own.value.hint
    with pytest.raises(BadUsage, match="own key"):
        here.retire(here.signer_line(), NOW)
    with pytest.raises(BadUsage, match="is not trusted") as unknown:
        here.retire(there.signing_key().public().fingerprint, NOW)
    assert "key signers" in unknown.value.hint
    with pytest.raises(BadKey):
        here.retire("nonsense", NOW)


def test_a_rotated_key_is_replaced_and_stays_in_the_file_of_allowed_signers_as_retired(
    there: Trust, tmp_path: Path
) -> None:
    secret = (tmp_path / HOST / "signing_key").read_bytes() if there.signing_key() else b""
    old, new = there.rotate(NOW)
    assert there.signing_key().public() == new != old
    soon = NOW + dt.timedelta(minutes=1)  # for what appears by the clock of a store that is a little ahead
    assert [(line.key, line.principals, line.valid_before) for line in there.signers()] == [(old, (HOST,), soon)]
    assert secret not in [path.read_bytes() for path in (tmp_path / HOST).iterdir()]
    assert (tmp_path / HOST / "signing_key").stat().st_mode & 0o077 == 0
    third, _ = there.rotate(LATER)
    assert third == new
    assert [line.valid_before for line in there.signers()] == [soon, LATER + (soon - NOW)]


def test_after_a_rotation_the_archives_that_appeared_before_keep_their_worth_and_those_after_have_none(
    there: Trust,
) -> None:
    hands, stolen = Hands(), there.signing_key()
    store = Watched(hands.clock)
    before = add(store, NOW - HOUR, sign=stolen)
    hands.moment = LATER
    _, new = there.rotate(NOW + HOUR)
    after = add(store, LATER, sign=there.signing_key())
    back_dated = add(store, NOW - 2 * HOUR, sign=stolen)
    found = listed(store, there)
    assert [found[key].standing for key in (before, after, back_dated)] == [
        Standing.PROVEN,
        Standing.PROVEN,
        Standing.STRANGER,
    ]
    assert "retired before it appeared" in found[back_dated].why
    assert found[before].series == found[after].series == new


def test_what_appears_a_little_after_a_rotation_by_the_clock_of_its_store_is_of_the_same_series(there: Trust) -> None:
    hands = Hands(NOW + dt.timedelta(seconds=30))
    store, old = Watched(hands.clock), there.signing_key()
    ahead = add(store, NOW, sign=old)
    _, new = there.rotate(NOW)
    for now in (NOW, NOW + dt.timedelta(seconds=90)):
        found = listed(store, there, now)[ahead]
        assert (found.standing, found.series) == (Standing.PROVEN, new)


def test_a_copy_that_the_new_key_has_placed_is_proven_though_its_host_signed_with_the_old_one(there: Trust) -> None:
    hands, old = Hands(LATER), there.signing_key()
    store = Watched(hands.clock)
    _, new = there.rotate(NOW + HOUR)
    add(store, LATER, sign=there.signing_key())
    copied = key_of(NOW - HOUR)
    etag = put(store, copied, sealed())
    put(store, f"{copied}.json", sidecar_of(sealed(), copied, etag=etag, sign=old, placed_by=there.signing_key()))
    found = listed(store, there)[copied]
    assert (found.standing, found.series) == (Standing.PROVEN, new)


def test_another_host_joins_the_series_of_both_keys_when_it_has_the_new_line_and_retires_the_old_one(
    here: Trust, there: Trust
) -> None:
    hands = Hands()
    store = Watched(hands.clock)
    here.add(there.signer_line())
    before = add(store, NOW - HOUR, sign=there.signing_key())
    hands.moment = LATER
    old, new = there.rotate(NOW + HOUR)
    after = add(store, LATER, sign=there.signing_key())
    assert [listed(store, here)[key].standing for key in (before, after)] == [Standing.PROVEN, Standing.STRANGER]
    here.add(there.signer_line())
    assert [listed(store, here)[key].series for key in (before, after)] == [old, new]
    here.retire(old.fingerprint, NOW + HOUR)
    assert [listed(store, here)[key].series for key in (before, after)] == [new, new]
