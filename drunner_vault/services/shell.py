"""The literal part of bash: assignments of plain strings and arrays, read without running anything, and written.

What is read: comments, blank lines, `NAME=value`, `NAME=( … )`, after an optional `declare`, `readonly` or `export`;
single, double or no quotes, backslash escapes, line continuation, `;`, and lines that end in CR LF. What would make
bash *do* something (expansion, substitution, globbing, another command) is refused, with the line shown.

What is written: every value in double quotes, with the four characters escaped that are special there
(bash manual, 3.1.2.3), so that bash and this module both read the same value back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Value = str | tuple[str, ...]

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_PREFIX = re.compile(r"(declare|typeset|readonly|export)((?:[ \t]+-[agrx]+)*)[ \t]+(?=[A-Za-z_])")
_GARBLED = frozenset("\x01\x7f")
_SPECIAL = frozenset("$`|&<>*?[]{}~^()")  # outside quotes: these make bash expand, run or redirect


class LiteralError(Exception):
    """The text holds something other than literal assignments.

    line: its number, from 1. text: that line. reason: what is wrong with it.
    """

    def __init__(self, line: int, text: str, reason: str) -> None:
        super().__init__(f"line {line}: {reason}: {text}")
        self.line = line
        self.text = text
        self.reason = reason


def quote(value: str) -> str:
    """The value within double quotes, as bash reads it back. Raises ValueError for a NUL, which bash cannot hold."""
    if "\0" in value:
        raise ValueError("a shell variable cannot hold a NUL character")
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'


def render_array(values: Iterable[str]) -> str:
    """A bash array literal: `("a" "b")`, or `()`.

    Raises ValueError for NUL, and for the control characters 1 and 127, which bash itself garbles within arrays.
    """
    values = tuple(values)
    if any(set(value) & _GARBLED for value in values):
        raise ValueError("a shell array cannot hold the control characters 1 and 127")
    return "(" + " ".join(quote(value) for value in values) + ")"


def render_assignments(values: Mapping[str, Value]) -> str:
    """One `NAME=value` line each, in the mapping's order."""
    return "".join(
        f"{name}={quote(value) if isinstance(value, str) else render_array(value)}\n" for name, value in values.items()
    )


def parse_assignments(text: bytes | str) -> dict[str, Value]:
    """All variables that a file of literal assignments sets: arrays as tuples, everything else as strings.

    text: UTF-8 where bytes are given; other bytes are kept as surrogates (PEP 383). Raises LiteralError for whatever is
    not a literal assignment, and for a variable that is set twice.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return _Parser(text).parse()


class _Parser:
    """One pass over the text; `at` is the index of the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[str, Value] = {}

    def parse(self) -> dict[str, Value]:
        while self._skip_to_statement():
            self._statement()
        return self.found

    def _peek(self, ahead: int = 0) -> str:
        return self.text[self.at + ahead : self.at + ahead + 1]

    def _refuse(self, reason: str, at: int | None = None) -> LiteralError:
        at = self.at if at is None else at
        number = self.text.count("\n", 0, at)
        return LiteralError(number + 1, self.text.split("\n")[number].strip(), reason)

    def _at_blank(self) -> bool:
        """A space, a tab, or the CR of a line that ends in CR LF."""
        char = self._peek()
        return char in (" ", "\t") or (char == "\r" and self._peek(1) in ("\n", ""))

    def _skip_blanks(self) -> None:
        while True:
            if self._at_blank():
                self.at += 1
            elif self.text.startswith(("\\\n", "\\\r\n"), self.at):
                self.at = self.text.index("\n", self.at) + 1
            else:
                return

    def _skip_comment(self) -> None:
        if self._peek() == "#":
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end

    def _skip_to_statement(self) -> bool:
        """Pass over blank lines and comments; False at the end of the text."""
        while True:
            self._skip_blanks()
            self._skip_comment()
            if self._peek() != "\n":
                return self.at < len(self.text)
            self.at += 1

    def _statement(self) -> None:
        """Assignments up to the end of the line or a semicolon."""
        if prefix := _PREFIX.match(self.text, self.at):
            self.at = prefix.end()
        while True:
            self._assignment()
            self._skip_blanks()
            self._skip_comment()
            if self._peek() in ("\n", ";", ""):
                self.at += 1
                return

    def _assignment(self) -> None:
        name = _ASSIGNMENT.match(self.text, self.at)
        if not name:
            raise self._refuse("only literal assignments are allowed")
        if name[1] in self.found:
            raise self._refuse(f"{name[1]} is set twice")
        self.at = name.end()
        self.found[name[1]] = self._array() if self._peek() == "(" else self._word()

    def _array(self) -> tuple[str, ...]:
        """The elements between parentheses, over as many lines as it takes."""
        start = self.at
        self.at += 1
        items: list[str] = []
        while self._skip_to_statement():
            if self._peek() == ")":
                self.at += 1
                self._expect_boundary()
                return tuple(items)
            if self._peek() == ";":
                raise self._refuse("a semicolon inside an array")
            items.append(self._word())
        raise self._refuse("this array is never closed", start)

    def _expect_boundary(self) -> None:
        if self._peek() not in ("", "\n", ";") and not self._at_blank():
            raise self._refuse("only literal assignments are allowed")

    def _word(self) -> str:
        """One word: pieces with and without quotes, joined."""
        parts: list[str] = []
        while (char := self._peek()) not in ("", "\n", ";", ")") and not self._at_blank():
            parts.append(self._piece(char))
        return "".join(parts)

    def _piece(self, char: str) -> str:
        if char == "'":
            return self._single_quoted()
        if char == '"':
            return self._double_quoted()
        if char == "\\":
            return self._escaped()
        if char in _SPECIAL:
            raise self._refuse(f"{char!r} outside quotes would be interpreted by the shell")
        self.at += 1
        return self._plain(char)

    def _plain(self, char: str) -> str:
        if char == "\0":
            raise self._refuse("a NUL character")
        return char

    def _escaped(self) -> str:
        """A backslash outside quotes: it makes the next character plain, or joins two lines."""
        following = self._peek(1)
        if following == "\r" and self._peek(2) == "\n":
            self.at += 3
            return ""
        if not following:
            raise self._refuse("a backslash ends the text")
        self.at += 2
        return "" if following == "\n" else self._plain(following)

    def _single_quoted(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise self._refuse("this quote is never closed")
        piece = self.text[self.at + 1 : end]
        if "\0" in piece:
            raise self._refuse("a NUL character")
        self.at = end + 1
        return piece

    def _double_quoted(self) -> str:
        start = self.at
        self.at += 1
        parts: list[str] = []
        while char := self._peek():
            if char == '"':
                self.at += 1
                return "".join(parts)
            if char in "$`":
                raise self._refuse("variables and commands are not allowed, only literal values")
            parts.append(self._in_double_quotes(char))
        raise self._refuse("this quote is never closed", start)

    def _in_double_quotes(self, char: str) -> str:
        """There a backslash means something only before `\\`, `"`, `$`, a backquote and the end of the line."""
        following = self._peek(1)
        if char != "\\" or not following or following not in '\\"$`\n':
            self.at += 1
            return self._plain(char)
        self.at += 2
        return "" if following == "\n" else following
