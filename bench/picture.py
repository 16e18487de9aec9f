"""The picture of the stages: bars, as plain SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bench.stages import AGE, BLAKE3, READ, SERIAL, TAR, WRITE, ZSTD, ZSTD_ALL, Profile

_WIDTH, _LEFT, _RIGHT = 860, 190, 200  # pixels: in all, before the bars, after them
_BAR, _GAP, _HEAD = 20, 8, 46
_TITLE = 64
_COLOURS = {
    READ: "#4c78a8",
    TAR: "#72b7b2",
    BLAKE3: "#eeca3b",
    ZSTD: "#e45756",
    ZSTD_ALL: "#f2a7a6",
    AGE: "#54a24b",
    WRITE: "#9d755d",
}
_WHOLE = "#333333"
_SUBTITLE = "Each stage by itself: seconds, MB/s of the content of files, share of the work; and the whole"
_STYLE = "font-family: sans-serif; fill: #222"


def picture(profiles: Sequence[Profile]) -> str:
    """Bars for the stages of each set of data, and one for the whole; in seconds, each group to its own scale."""
    body: list[str] = []
    y = _TITLE
    for profile in profiles:
        body += _group(profile, y)
        y += _HEAD + (len(profile.seconds) + 1) * (_BAR + _GAP) + 14
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}">',
        f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>',
        _text(20, 30, "Where the time of a backup goes", 20, weight="bold"),
        _text(20, 52, _SUBTITLE, 13),
    ]
    return "\n".join([*head, *body, "</svg>", ""])


def _group(profile: Profile, y: int) -> Iterator[str]:
    """The bars of one set of data, from `y` down."""
    bars = [(stage, seconds, _COLOURS[stage]) for stage, seconds in profile.seconds.items()]
    bars.append((f"all at once, {profile.cores} cores", profile.whole, _WHOLE))
    scale = (_WIDTH - _LEFT - _RIGHT) / max(seconds for _, seconds, _ in bars)
    title = f"{profile.data}: {profile.members:,} files and folders, {profile.content / (1 << 20):,.0f} MiB"
    yield _text(20, y + 28, title, 15, weight="bold")
    y += _HEAD
    for name, seconds, colour in bars:
        width = max(seconds * scale, 1)
        yield _text(_LEFT - 10, y + 15, name, 13, anchor="end")
        yield f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
        share = f", {profile.share(name):.0%}" if name in SERIAL else ""
        label = f"{seconds:.2f} s, {profile.speed(seconds):,.0f} MB/s{share}"
        yield _text(_LEFT + width + 8, y + 15, label, 13)
        y += _BAR + _GAP


def _text(x: float, y: float, text: str, size: int, anchor: str = "start", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {place} style="{_STYLE}">{escape(text)}</text>'
