"""What a reader has seen of an archive, held against what the archive says of itself.

Frames and members are told as they go by, in three stages: the data, the shards of the index, the closing. Stages
change at frame boundaries: the frame that was read last always belongs to the stage that is announced next.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from drunner_vault.archive.digests import digest_of
from drunner_vault.archive.frames import Frame
from drunner_vault.archive.index import IndexCheck, Spool, frame_row, member_row, same_row, summarize
from drunner_vault.archive.root import PlacedShard, Root, parse_root
from drunner_vault.archive.trailer import ClosingDigest, Locator
from drunner_vault.errors import DamagedArchive
from drunner_vault.tar import Kind, Member


class Stage(IntEnum):
    """Which part of the tar is being read."""

    DATA = 0
    INDEX = 1
    CLOSING = 2


class Proof:
    """The reader's own account of an archive."""

    def __init__(self, signed: Iterator[bytes] | None = None) -> None:
        """signed: rows of the frames that a signature vouches for; with them, no other frame is let through."""
        self._signed = signed
        self._beyond = False
        self._member_rows, self._frame_rows = Spool(), Spool()
        self._seen = Root(manifest="")
        self._stage = Stage.DATA
        self._held: tuple[Frame, bytes] | None = None
        self._shards: list[PlacedShard] = []
        self._counts = {"members": 0, "frames": 0}
        self._closing: list[Frame] = []
        self._closing_digest = ClosingDigest()
        self._check: IndexCheck | None = None

    def close(self) -> None:
        """Free temporary files."""
        self._member_rows.close()
        self._frame_rows.close()

    def frame(self, frame: Frame, packed: bytes) -> None:
        """A frame was begun. Raises DamagedArchive if it is not the one that was signed."""
        self._settle()
        self._held = frame, packed
        if self._signed is not None and not self._beyond:
            expected = next(self._signed, None)
            self._beyond = expected is None
            if expected is not None and not same_row(expected, frame_row(frame).rstrip(b"\n")):
                raise DamagedArchive(
                    f"frame {frame.number} is not the one that was signed", "do not trust this archive"
                )

    def require_signed(self) -> None:
        """Data is about to be used. Raises DamagedArchive if signatures matter and none vouches for its frame."""
        if self._beyond and self._stage is Stage.DATA:
            raise DamagedArchive("the archive goes on after what was signed", "do not trust this archive")

    def manifest(self, data: bytes) -> None:
        """The manifest was read."""
        self._seen.manifest = digest_of(data)

    def member(self, member: Member, digest: str, stored: int, frames: tuple[int, int], end: int) -> None:
        """A member of the data was read to its end. digest: BLAKE3 of its stored data. frames: first and how many."""
        proof = digest if member.entry.kind is Kind.FILE else ""
        self._member_rows.add(member_row(member, proof, stored, *frames))
        self._seen.count(member.entry.path, stored, member.offset, end)

    def begin(self, stage: Stage) -> None:
        """The next stage has begun, with the frame that was read last."""
        self._stage = stage
        if stage is Stage.INDEX:
            self._check = IndexCheck(self._member_rows, self._frame_rows)

    def shard(self, name: str, sort: str, data: bytes, skip: int) -> None:
        """A shard was read. data: its lines. Raises DamagedArchive where they differ from what was seen."""
        if self._check is None or self._held is None:
            raise DamagedArchive("the archive has an index out of place", "use another copy of the archive")
        self._check.feed(sort, data)
        rows, digest, first, last = summarize(data)
        frame = self._held[0]
        self._counts[sort] += 1
        if name != f"index/{sort}-{self._counts[sort] - 1:06d}.jsonl" or (sort == "frames" and self._counts["members"]):
            raise DamagedArchive(f"the archive has {name} out of order", "do not trust this archive")
        self._shards.append(
            PlacedShard(
                name,
                rows,
                digest,
                first,
                last,
                frame.number,
                frame.offset,
                frame.compressed,
                frame.content,
                frame.packed,
                skip,
            )
        )

    def root(self, data: bytes) -> Root:
        """The root was read. Raises DamagedArchive unless it says just what was seen."""
        if self._check is None:
            raise DamagedArchive("the archive has no index", "use another copy of the archive")
        self._check.finish()
        root = parse_root(data)
        self._seen.frames = self._frame_rows.rows
        for what in ("manifest", "members", "content", "frames", "tar_size", "components"):
            if getattr(root, what) != getattr(self._seen, what):
                raise DamagedArchive(
                    f"the index root states other {what} than the archive has", "do not trust this archive"
                )
        if root.shards != self._shards:
            raise DamagedArchive("the index root lists other shards than the archive has", "do not trust this archive")
        return root

    def locator(self) -> Locator:
        """What the locator of this archive must say. All frames have been read."""
        self._settle()
        self._held = None
        first = self._closing[0]
        members = next(
            (shard.offset for shard in self._shards if shard.name.startswith("index/members-")), first.offset
        )
        compressed, content = (sum(getattr(f, what) for f in self._closing) for what in ("compressed", "content"))
        return Locator(first.offset, compressed, content, first.number, self._closing_digest.digest(), members)

    def _settle(self) -> None:
        """The frame that was read last belongs to the present stage."""
        if self._held is None:
            return
        frame, packed = self._held
        if self._stage is Stage.DATA:
            self._frame_rows.add(frame_row(frame))
        elif self._stage is Stage.CLOSING:
            self._closing.append(frame)
            self._closing_digest.update(packed)
