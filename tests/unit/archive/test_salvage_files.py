"""What becomes of files of which only a part survives, of links, directories and attributes, and of lost manifests."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from support.salvaging import (
    DATA,
    ETC,
    MANIFEST,
    Item,
    Made,
    check,
    chunks,
    clear,
    cut_out,
    directory,
    file,
    flipped,
    frame_contents,
    frame_spans,
    in_full,
    large_tree,
    make,
    noise,
    salvage,
    small_tree,
    tiny_tree,
)

from drunner_vault.age import CHUNK, SEALED_CHUNK
from drunner_vault.archive import ArchiveWriter, SeekableArchive, WriterOptions
from drunner_vault.archive.salvage import hints_from_name
from drunner_vault.errors import UnsupportedArchive
from drunner_vault.tar import Entry, Kind, Segment

MIB = 1 << 20


def zeroed(archive: bytes, *spans: tuple[int, int]) -> bytes:
    """The archive with some parts overwritten."""
    for start, end in spans:
        archive = archive[:start] + bytes(end - start) + archive[end:]
    return archive


def frames_of(made: Made, name: bytes) -> list[tuple[int, int]]:
    """Where the frames of a large member's content are."""
    archive = SeekableArchive(lambda at, size: made.archive[at : at + size], len(made.archive))
    row = next(row for row in archive.member_rows() if row.path == name)
    spans, place = [], 0
    for (start, end), content in zip(frame_spans(made.archive), frame_contents(made.archive), strict=False):
        if row.content <= place < row.content + row.stored and content:
            spans.append((start, end))
        place += content
    return spans


def big_file() -> list[Item]:
    return [directory(DATA), file(DATA, b"big", noise("big", 4 * MIB + 1000)), file(DATA, b"small", b"s" * 100)]


@pytest.mark.parametrize("with_index", [True, False])
def test_a_file_keeps_what_survives_of_it(with_index: bool) -> None:
    made = make(big_file(), sealed=False)
    name = DATA + b"/big"
    spans = frames_of(made, name)
    assert len(spans) == 5
    damaged = zeroed(made.archive, spans[1], spans[3])
    if not with_index:
        damaged = damaged[: frame_spans(made.archive)[-5][0]]
    saved = salvage(clear(damaged))
    (loss,) = [loss for loss in saved.result.losses if loss.path.endswith("big")]
    assert check(made, saved) >= {name}
    assert (loss.state, loss.size) == ("damaged", 4 * MIB + 1000)
    # without an index nothing tells how much a lost frame held, so all behind it is lost
    assert loss.ranges == (((MIB, 2 * MIB), (3 * MIB, 4 * MIB)) if with_index else ((MIB, 4 * MIB + 1000),))
    (problem,) = [problem for problem in saved.problems if problem["path"].endswith("big")]
    assert problem["problem"].startswith("salvaged, damaged: bytes 1048576-")
    assert saved.content[DATA + b"/small"] == b"s" * 100


def test_a_file_with_holes_keeps_them() -> None:
    segments = (Segment(5, MIB), Segment(3 * MIB, MIB + 7), Segment(9 * MIB, 10))
    data = noise("sparse", 2 * MIB + 17)
    entry = Entry(b"disk", Kind.FILE, 0o600, size=10 * MIB, segments=segments)
    made = make([directory(DATA), (DATA, entry, data)], sealed=False)
    name = DATA + b"/disk"
    saved = salvage(clear(zeroed(made.archive, frames_of(made, name)[1])))
    assert check(made, saved) == {name}
    assert saved.result.losses[0].ranges == ((3 * MIB, 4 * MIB),)
    assert saved.entries[name].segments == (Segment(5, MIB), Segment(4 * MIB, 7), Segment(9 * MIB, 10))
    assert len(in_full(saved.entries[name], saved.content[name])) == 10 * MIB


def test_a_file_of_which_nothing_survives_is_not_there() -> None:
    made = make(big_file(), sealed=False)
    saved = salvage(clear(zeroed(made.archive, *frames_of(made, DATA + b"/big"))))
    assert check(made, saved) == {DATA + b"/big"}
    assert [(loss.state, loss.ranges) for loss in saved.result.losses] == [("lost", ((0, 4 * MIB + 1000),))]
    where = f"bytes 0-{4 * MIB + 999} of {4 * MIB + 1000}"
    assert saved.problems[0]["problem"] == f"salvaged, lost: {where}: its content is lost"


def test_a_lost_header_is_made_again_from_the_index() -> None:
    """All that a header says is in the index, but for the values of extended attributes."""
    plain = file(DATA, b"big", noise(1, 300_000))
    coloured = file(DATA, b"fig", noise(2, 300_000), xattrs={"user.colour": b"green"})
    made = make([directory(DATA), plain, coloured], sealed=False)
    for name, harmed in ((b"/big", set()), (b"/fig", {DATA + b"/fig"})):
        content = frames_of(made, DATA + name)[0][0]
        header = next(span for span in frame_spans(made.archive) if span[1] == content)
        saved = salvage(clear(zeroed(made.archive, header)))
        assert check(made, saved) == harmed
        assert saved.content[DATA + name] == made.content[DATA + name]
    assert saved.result.losses[0].reason == "its headers are lost, and with them the attributes user.colour"


def test_further_names_of_a_lost_file_are_lost() -> None:
    made = make(small_tree(), sealed=False)
    data = frame_spans(made.archive)[4]
    saved = salvage(clear(zeroed(made.archive, data)))
    harmed = check(made, saved)
    assert DATA + b"/more" in harmed
    reasons = {loss.path: loss.reason for loss in saved.result.losses}
    assert reasons[(DATA + b"/more").decode()] == (
        f"it is a further name of {(DATA + b'/a/one').decode()}, with which its content is lost"
    )
    assert saved.entries[DATA + b"/link"].link == b"a/one"


def test_further_names_of_a_saved_file_stay() -> None:
    big = noise("big", 2 * MIB)
    link = (DATA, Entry(b"more", Kind.HARDLINK, 0o640, link=b"big"), b"")
    made = make([directory(DATA), file(DATA, b"big", big), link], sealed=False)
    saved = salvage(clear(zeroed(made.archive, frames_of(made, DATA + b"/big")[0])))
    assert check(made, saved) == {DATA + b"/big"}
    assert saved.entries[DATA + b"/more"].link == DATA + b"/big"


def test_lost_directories_are_made_anew_where_no_index_tells_of_them() -> None:
    filler = [file(DATA, b"a/b/%03d" % n, noise(n, 120_000)) for n in range(30)]
    items = [directory(DATA), directory(DATA, b"a"), directory(DATA, b"a/b"), *filler, directory(ETC)]
    made = make(items, sealed=False)
    spans = frame_spans(made.archive)
    damaged = zeroed(made.archive, spans[2])[: spans[5][0]]
    saved = salvage(clear(damaged))
    check(made, saved)
    assert saved.entries[DATA + b"/a/b"].mode == 0o755
    anew = [loss.path for loss in saved.result.losses if "made anew" in loss.reason]
    assert anew == [DATA.decode(), (DATA + b"/a").decode(), (DATA + b"/a/b").decode()]
    assert any(name.startswith(DATA + b"/a/b/") for name in saved.entries)


def test_without_manifest_what_is_left_tells() -> None:
    made = make(small_tree(), sealed=False)
    manifest, recover = frame_spans(made.archive)[:2]
    saved = salvage(clear(zeroed(made.archive, manifest)))
    assert saved.manifest.service.name == "notes"
    assert (saved.manifest.host, saved.manifest.created) == ("alpha", MANIFEST.created)
    assert [(volume.name, volume.path) for volume in saved.manifest.volumes] == [
        (volume.name, volume.path) for volume in MANIFEST.volumes
    ]
    assert saved.problems[0]["path"] == "manifest.json"

    lost_both = zeroed(made.archive, manifest, recover)
    saved = salvage(clear(lost_both), hints_from_name("diary-20240506T070809Z.tar.zst.age"))
    assert (saved.manifest.service.name, saved.manifest.created) == ("diary", "2024-05-06T07:08:09Z")
    assert [(volume.name, volume.path) for volume in saved.manifest.volumes] == [
        (volume.name, "") for volume in MANIFEST.volumes
    ]
    saved = salvage(clear(lost_both))
    assert (saved.manifest.service.name, saved.manifest.created) == ("salvaged", "2026-05-06T07:08:09Z")
    assert check(made, saved) == set()
    assert not saved.result.complete


def test_names_of_files_tell_little_when_they_are_odd() -> None:
    assert hints_from_name("x.tar") == hints_from_name("")
    assert hints_from_name("a-20241399T000000Z.tar.zst").service == "a"
    assert hints_from_name("a-20241399T000000Z.tar.zst").created == ""


def test_a_manifest_of_a_later_version_is_not_thrown_away() -> None:
    made = make(tiny_tree(), replace(MANIFEST, features=("telepathy",)), sealed=False)
    with pytest.raises(UnsupportedArchive):
        salvage(clear(made.archive))


def test_problems_of_the_old_archive_are_those_of_the_new_one_too() -> None:
    sink = io.BytesIO()
    with ArchiveWriter(sink, MANIFEST, 0, WriterOptions(threads=1, sign=lambda _root: b"signature\n")) as writer:
        writer.add(b"scripts", Entry(b"x", Kind.FILE, size=1), (b"x",))
        for number in range(1003):
            writer.report(b"volumes/%d" % number, "could not be read")
        writer.finish("2026-01-02T03:04:06Z")
    saved = salvage(clear(sink.getvalue()))
    assert saved.result.problems == 1003
    assert saved.problems[0] == {"path": "volumes/0", "problem": "could not be read"}
    assert saved.result.complete
    assert saved.result.was_signed


def test_an_index_in_many_shards_loses_only_the_names_in_the_lost_one() -> None:
    files = [file(DATA, b"%05d" % number, b"%d" % number) for number in range(9000)]
    made = make([directory(DATA), *files], sealed=False)
    archive = SeekableArchive(lambda at, size: made.archive[at : at + size], len(made.archive))
    shards = {shard.name: (shard.offset, shard.offset + shard.compressed) for shard in archive.root.shards}
    assert len(shards) == 4
    data = frame_spans(made.archive)[4]
    lost = [row.path for row in archive.member_rows()][4096 : 2 * 4096]

    saved = salvage(clear(zeroed(made.archive, data)))
    named = check(made, saved)
    assert named
    assert (saved.result.gaps, saved.result.unnamed) == (0, 0)

    saved = salvage(clear(zeroed(made.archive, data, shards["index/members-000001.jsonl"])))
    harmed = check(made, saved)
    assert harmed == named
    assert saved.result.unnamed == len(harmed & set(lost))

    root = (archive.locator.offset, archive.locator.offset + archive.locator.compressed)
    saved = salvage(clear(zeroed(made.archive, data, shards["index/members-000000.jsonl"], root)))
    assert check(made, saved) == named
    assert saved.result.gaps

    tables = [shards["index/frames-000000.jsonl"], (archive.locator.offset, len(made.archive))]
    saved = salvage(clear(zeroed(made.archive, data, *tables)))
    assert check(made, saved) == named
    assert saved.result.lost == len(named)


def test_frames_that_a_user_stored_are_not_taken_for_the_archives_own() -> None:
    """A file in a volume that is an archive itself, in which everything looks as it does outside."""
    inner = make(large_tree(3, 150_000), sealed=False).archive
    outer = [directory(DATA), file(DATA, b"backup", inner), file(DATA, b"later", noise("later", 500)), directory(ETC)]
    made = make(outer, sealed=False)
    span = frames_of(made, DATA + b"/backup")[0]
    for position in (span[0], span[0] + 5, span[0] + 20, span[0] + 1000, span[1] - 1):
        saved = salvage(clear(flipped(made.archive, position)))
        assert check(made, saved) == {DATA + b"/backup"}


def test_frames_that_a_user_stored_stay_out_of_an_encrypted_archive_even_without_an_index() -> None:
    inner = make(large_tree(8, 130_000), sealed=False).archive
    outer = [directory(DATA), file(DATA, b"backup", inner), file(DATA, b"later", noise("later", 500_000))]
    made = make(outer)
    end = len(made.head) + SEALED_CHUNK * (len(made.archive) // CHUNK - 1)
    for position in range(100_000, 1_000_000, 90_000):
        saved = salvage(chunks(flipped(made.sealed[:end], position)))
        assert check(made, saved) == {DATA + b"/backup", DATA + b"/later"}


def test_a_frame_that_is_gone_without_a_trace() -> None:
    made = make(big_file(), sealed=False)
    spans = frames_of(made, DATA + b"/big")
    gone = cut_out(made.archive, spans[1][0], spans[1][1] - spans[1][0])
    saved = salvage(clear(gone))
    assert check(made, saved) == {DATA + b"/big"}
    assert saved.result.losses[0].ranges == ((MIB, 2 * MIB),)

    saved = salvage(clear(gone[: frame_spans(made.archive)[-5][0] - (spans[1][1] - spans[1][0])]))
    (loss,) = saved.result.losses
    assert loss.state == "damaged"
    assert "nothing tells where" in loss.reason
