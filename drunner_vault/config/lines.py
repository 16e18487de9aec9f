"""Where the keys of a TOML file stand: tomllib says what they are, but not where."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

Place = tuple[str, ...]
_TOKEN = re.compile(
    r'(?P<text>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\')'
    r"|(?P<word>[A-Za-z0-9_-]+)|(?P<skipped>#[^\n]*|[ \t\r]+)|(?P<sign>.)",
    re.DOTALL,
)
_OPEN, _CLOSE = "[{", "]}"
Token = tuple[str, int]


def lines_of(text: str) -> dict[Place, int]:
    """The line of every key and table, by its names from the top, of a text that is TOML."""
    found: dict[Place, int] = {}
    tokens = list(_tokens(text))
    table: Place = ()
    at = 0
    while at < len(tokens):
        if tokens[at][0] == "\n":
            at += 1
        elif tokens[at][0] == "[":
            while tokens[at][0] == "[":
                at += 1
            line = tokens[at][1]
            table, at = _key(tokens, at)
            _note(found, table, line)
            found[table] = line  # its own header, where dotted ones came before
            while at < len(tokens) and tokens[at][0] != "\n":
                at += 1
        else:
            at = _pair(tokens, at, table, found)
    return found


def _pair(tokens: list[Token], at: int, table: Place, found: dict[Place, int]) -> int:
    """Note a key and what is in its value; returns where that ends."""
    line = tokens[at][1]
    names, at = _key(tokens, at)
    place = (*table, *names)
    _note(found, place, line)
    at += 1  # the =
    if tokens[at][0] == "{":
        return _inline_table(tokens, at + 1, place, found)
    depth = 0
    while at < len(tokens) and (depth or tokens[at][0] not in ("\n", ",", "}")):
        depth += (tokens[at][0] in _OPEN) - (tokens[at][0] in _CLOSE)
        at += 1
    return at


def _inline_table(tokens: list[Token], at: int, place: Place, found: dict[Place, int]) -> int:
    while tokens[at][0] != "}":
        at = at + 1 if tokens[at][0] in (",", "\n") else _pair(tokens, at, place, found)
    return at + 1


def _key(tokens: list[Token], at: int) -> tuple[Place, int]:
    """The names of a dotted key, and where it ends."""
    names = [_name(tokens[at][0])]
    while tokens[at + 1][0] == ".":
        at += 2
        names.append(_name(tokens[at][0]))
    return tuple(names), at + 1


def _name(token: str) -> str:
    return str(tomllib.loads(f"name = {token}")["name"]) if token[0] in "\"'" else token


def _note(found: dict[Place, int], place: Place, line: int) -> None:
    """A key is where it is named first, and so is a table that has no header."""
    for length in range(1, len(place) + 1):
        found.setdefault(place[:length], line)


def _tokens(text: str) -> Iterator[Token]:
    """Each with its line. Signs are single characters, the end of a line among them."""
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skipped":
            yield match[0], line
        line += match[0].count("\n")
