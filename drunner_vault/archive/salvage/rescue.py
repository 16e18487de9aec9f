"""Salvaging: a new, valid archive of all that survives in a damaged one, and the exact list of what does not.

Picture: stream with holes → whole frames → their places in the tar → members → a new archive. Nothing is restored
silently: a file of which a part is lost gets holes there, and stands among the problems of the new archive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from blake3 import blake3

from drunner_vault.archive import layout
from drunner_vault.archive.frames import Sink
from drunner_vault.archive.manifest import Manifest, parse_manifest
from drunner_vault.archive.salvage.contents import in_file, surviving, with_holes
from drunner_vault.archive.salvage.index import known_frames, read_index
from drunner_vault.archive.salvage.manifests import Hints, hints_from_recover, kept, made_anew
from drunner_vault.archive.salvage.members import Found, Gap, Gone, Item, Members, is_lost
from drunner_vault.archive.salvage.placing import place
from drunner_vault.archive.salvage.report import DAMAGED, Loss, Salvaged, lost_member, ranges_text, shown
from drunner_vault.archive.salvage.stream import Stream
from drunner_vault.archive.salvage.survey import survey
from drunner_vault.archive.salvage.tree import TreeOrder, component
from drunner_vault.archive.writer import ArchiveWriter, WriterOptions
from drunner_vault.clock import Clock, isoformat
from drunner_vault.errors import DamagedArchive, NotAnArchive
from drunner_vault.tar import Entry, Kind

_OWN = (layout.MANIFEST, layout.RECOVER)
_NO_CONTENT = "its content is lost"


class Salvage:
    """A damaged archive of which it is known what survives. Holds its frame map in memory, and no content."""

    def __init__(self, stream: Stream, hints: Hints, clock: Clock, advance: Callable[[int], None]) -> None:
        """Reads the whole stream once. hints: for the case that the manifest is lost. advance: told of bytes that are
        done.

        Raises DamagedArchive or NotAnArchive if nothing survives, UnsupportedArchive for a manifest of another version.
        """
        frames = survey(stream, advance)
        self._clock = clock
        self._index = read_index(frames)
        known = known_frames(frames, self._index, stream)
        self._members = Members(frames, place(frames, known, placed=stream.placed), self._index)
        self._found = _Overview(self._members)
        if not self._found.members:
            raise _nothing(len(frames))
        self.manifest = self._manifest(hints)

    def write(self, sink: Sink, options: WriterOptions) -> Salvaged:
        """Write the new archive. options.sign: makes its signature."""
        result = Salvaged(self.manifest.service.name, self.manifest.created)
        result.made_anew = self._found.manifest is None
        result.was_signed = self._index.signed
        now = self._clock.now()
        with ArchiveWriter(sink, self.manifest, int(now.timestamp()), options) as writer:
            _Rewrite(writer, self.manifest, self._found.link_targets, result).run(self._members)
            self._account(result)
            self._report(writer, result)
            writer.finish(isoformat(self._clock.now()))
        return result

    def _manifest(self, hints: Hints) -> Manifest:
        if self._found.manifest is not None:
            return kept(self._found.manifest)
        return made_anew(hints.or_else(self._found.hints), self._found.volumes, self._clock.now())

    def _account(self, result: Salvaged) -> None:
        """How many members were lost of which not even the name is known."""
        root = self._index.root
        result.unnamed = None if result.gaps else 0
        if root is not None and result.gaps:
            named = result.saved + result.damaged + result.lost + len(_OWN)
            result.unnamed = max(0, root.members - named)
            result.gaps = result.gaps if result.unnamed else 0

    def _report(self, writer: ArchiveWriter, result: Salvaged) -> None:
        """What is wrong, into the root of the new archive, after what was wrong before."""
        root = self._index.root
        if root is not None:
            result.problems = root.problem_count
            for problem in root.problems:
                writer.report(problem.get("path", "").encode(), problem.get("problem", ""))
            writer.root.problem_count += root.problem_count - len(root.problems)
        if result.made_anew:
            writer.report(layout.MANIFEST, "salvaged: it was lost, and this one was made of what else is known")
        if result.gaps:
            count = "an unknown number of" if result.unnamed is None else str(result.unnamed)
            writer.report(b"", f"salvaged: {count} further members are lost, with their names")
        for loss in result.losses:
            where = f"bytes {ranges_text(loss.ranges)} of {loss.size}: " if loss.ranges else ""
            writer.report(loss.path.encode(), f"salvaged, {loss.state}: {where}{loss.reason}")


def _nothing(frames: int) -> DamagedArchive | NotAnArchive:
    if frames:
        return DamagedArchive(
            "nothing can be salvaged: no member of the archive survives", "use another copy of the archive"
        )
    return NotAnArchive(
        "nothing can be salvaged: no whole zstd frame is in it",
        "check the file; if it was encrypted, its age header is lost: give its sidecar with --sidecar FILE",
    )


class _Overview:
    """What has to be known of the members before the first of them is written."""

    def __init__(self, members: Members) -> None:
        self.manifest: Manifest | None = None
        self.hints = Hints()
        self.volumes: list[str] = []
        self.link_targets: set[int] = set()
        self.members = 0
        for item in members:
            if isinstance(item, Found):
                self._see(item)

    def _see(self, found: Found) -> None:
        path = found.entry.path
        if path in _OWN:
            self._own(found)
            return
        self.members += not is_lost(found)
        if found.entry.kind is Kind.HARDLINK:
            self.link_targets.add(hash(found.entry.link))
        parts = path.split(b"/")
        if parts[0] == layout.VOLUMES and len(parts) > 1:
            name = parts[1].decode("utf-8", "backslashreplace")
            if name not in self.volumes:
                self.volumes.append(name)

    def _own(self, found: Found) -> None:
        """One of the members that the archive has for itself."""
        if found.lost or found.entry.size > layout.MAX_MANIFEST:
            return
        data = b"".join(found.tape.pieces(found.content, found.content + found.entry.data_size))
        if found.entry.path == layout.RECOVER:
            self.hints = hints_from_recover(data)
            return
        try:
            self.manifest = parse_manifest(data)
        except (DamagedArchive, NotAnArchive):
            return


class _Rewrite:
    """The members of the damaged archive on their way into the new one."""

    def __init__(self, writer: ArchiveWriter, manifest: Manifest, link_targets: set[int], result: Salvaged) -> None:
        self._writer = writer
        self._order = TreeOrder({volume.name.encode() for volume in manifest.volumes})
        self._link_targets = link_targets
        self._written_targets: set[int] = set()
        self._result = result

    def run(self, members: Members) -> None:
        """Write all that survives; count and list what does not."""
        for item in members:
            self._take(item)

    def _take(self, item: Item) -> None:
        if isinstance(item, Gap):
            self._result.gaps += 1
        elif item.entry.path in _OWN:
            return
        elif isinstance(item, Gone):
            self._result.add(lost_member(item.entry, _NO_CONTENT))
        elif reason := self._refusal(item):
            self._result.add(lost_member(item.entry, reason))
        else:
            self._write_parents(item.entry)
            self._write(item)

    def _refusal(self, found: Found) -> str:
        """Why a member that survives cannot be in the new archive; empty if it can."""
        if is_lost(found):
            return _NO_CONTENT
        entry = found.entry
        if entry.kind is Kind.HARDLINK and hash(entry.link) not in self._written_targets:
            return f"it is a further name of {shown(entry.link)}, with which its content is lost"
        return self._order.refusal(entry)

    def _write_parents(self, entry: Entry) -> None:
        """Directories that are lost, and without which a member could not be where it was."""
        for path in self._order.missing_parents(entry):
            directory = Entry(path, Kind.DIRECTORY, 0o755, mtime_ns=entry.mtime_ns)
            self._add(directory, iter(()))
            reason = "it was lost, and made anew with mode 0755 and owner 0"
            self._result.add(Loss(shown(path), DAMAGED, 0, (), reason))

    def _write(self, found: Found) -> None:
        entry = found.entry
        ranges = tuple(in_file(entry, found.lost))
        written = with_holes(entry, found.lost) if found.lost else entry
        content = _Content(found)
        self._add(written, iter(content))
        self._result.content += content.size
        reason = _damage(found, content)
        if reason:
            self._result.add(Loss(shown(entry.path), DAMAGED, entry.size, ranges, reason))
        else:
            self._result.saved += 1
            self._result.proven += bool(found.digest)

    def _add(self, entry: Entry, content: Iterator[bytes]) -> None:
        prefix = component(entry.path)
        skip = len(prefix) + 1
        below = entry._replace(path=entry.path[skip:])
        if entry.kind is Kind.HARDLINK:
            below = below._replace(link=entry.link[skip:])
        self._writer.add(prefix, below, content)
        self._order.accept(entry)
        if entry.kind is Kind.FILE and hash(entry.path) in self._link_targets:
            self._written_targets.add(hash(entry.path))


class _Content:
    """The surviving data of a file, hashed while it goes by."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._hash = blake3()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        found = self._found
        for start, end in surviving(found.entry.data_size, found.lost):
            for piece in found.tape.pieces(found.content + start, found.content + end):
                self._hash.update(piece)
                self.size += len(piece)
                yield piece

    def is_proven_wrong(self) -> bool:
        """Whether all of it is there, and the index says that it was something else."""
        found = self._found
        return bool(found.digest) and not found.lost and self._hash.hexdigest() != found.digest


def _damage(found: Found, content: _Content) -> str:
    """What is wrong with a member that was written; empty if nothing is."""
    reasons = []
    if found.lost:
        reasons.append("lost, and read as zeros")
    if found.displaced:
        reasons.append("parts are missing before that, and nothing tells where")
    if content.is_proven_wrong():
        reasons.append("its content is not what the index says")
    if found.attributes:
        reasons.append(f"its headers are lost, and with them the attributes {', '.join(found.attributes)}")
    return "; ".join(reasons)
