"""The index root: what is only known at the end, and the digests that commit to the whole archive."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from drunner_vault.archive.documents import Fields, parse
from drunner_vault.archive.index import Shard
from drunner_vault.archive.layout import FORMAT_NAME, FORMAT_VERSION

MAX_PROBLEMS = 1000
_NOWHERE = b"\0"


@dataclass
class Component:
    """One part of the archive: `scripts`, `images`, `hook` or `volumes/<name>`.

    members: how many. content: bytes of stored content. offset, end: its range in the tar.
    """

    members: int = 0
    content: int = 0
    offset: int = 0
    end: int = 0


@dataclass(frozen=True)
class PlacedShard:
    """A shard of the index and where its frame is: number, zstd offset, sizes in bytes, BLAKE3 of its packed bytes.

    The frame holds the shard's tar header too: its lines start `skip` bytes into it. blake3: of the lines.
    """

    name: str
    rows: int
    blake3: str
    first: str
    last: str
    frame: int
    offset: int
    compressed: int
    content: int
    packed: str
    skip: int


@dataclass
class Root:
    """index/root.json.

    manifest: BLAKE3 of manifest.json. finished: RFC 3339, UTC. members, content (bytes), frames: of all before the
    index. problems: what could not be read as it should, at most MAX_PROBLEMS of `problem_count`; an archive with
    any is partial and says so.
    """

    manifest: str
    finished: str = ""
    members: int = 0
    content: int = 0
    frames: int = 0
    tar_size: int = 0
    components: dict[str, Component] = field(default_factory=dict)
    problem_count: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)
    shards: list[PlacedShard] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._counting: tuple[bytes, Component] = (_NOWHERE, Component())

    def count(self, name: bytes, stored: int, offset: int, end: int) -> None:
        """Add one member to the totals of its component."""
        below, component = self._counting
        if not name.startswith(below):
            place = component_of(name)
            component = self.components.setdefault(place, Component(offset=offset))
            self._counting = (place.encode() + b"/", component)
        component.members += 1
        component.content += stored
        component.end = end
        self.members += 1
        self.content += stored
        self.tar_size = end

    def report(self, path: bytes, problem: str) -> None:
        """Record that something of `path` could not be carried."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append({"path": path.decode("utf-8", "backslashreplace"), "problem": problem})

    def encode(self) -> bytes:
        """index/root.json as it stands in the archive."""
        document = {"format": FORMAT_NAME, "version": FORMAT_VERSION, **asdict(self)}
        return json.dumps(document, indent=1).encode() + b"\n"


def component_of(name: bytes) -> str:
    """The component a member belongs to, by its full name."""
    parts = name.split(b"/", 2)
    depth = 2 if parts[0] == b"volumes" else 1
    return b"/".join(parts[:depth]).decode("utf-8", "backslashreplace")


def placed(name: str, shard: Shard, frame: int, skip: int) -> PlacedShard:
    """A shard whose place in the stream is not known yet; `frame` is."""
    return PlacedShard(name, shard.rows, shard.digest, shard.first, shard.last, frame, 0, 0, 0, "", skip)


def parse_root(data: bytes) -> Root:
    """The root that `data` holds. Raises DamagedArchive if it is not well formed."""
    return parse(data, "the index root", _from_document)


def _from_document(document: Fields) -> Root:
    if (document.text("format"), document.number("version")) != (FORMAT_NAME, FORMAT_VERSION):
        raise ValueError("it is of another format or version")
    components = document.object("components")
    return Root(
        manifest=document.text("manifest"),
        finished=document.text("finished"),
        members=document.number("members"),
        content=document.number("content"),
        frames=document.number("frames"),
        tar_size=document.number("tar_size"),
        components={name: _component(components.object(name)) for name in components.values},
        problem_count=document.number("problem_count"),
        problems=[{key: entry.text(key) for key in entry.values} for entry in document.objects("problems")],
        shards=[_shard(shard) for shard in document.objects("shards")],
    )


def _component(part: Fields) -> Component:
    return Component(*(part.number(key) for key in ("members", "content", "offset", "end")))


def _shard(shard: Fields) -> PlacedShard:
    texts = {key: shard.text(key) for key in ("name", "blake3", "first", "last", "packed")}
    numbers = {key: shard.number(key) for key in ("rows", "frame", "offset", "compressed", "content", "skip")}
    return PlacedShard(**texts, **numbers)  # type: ignore[arg-type]
