"""A recovery kit as one HTML file. It loads nothing, runs nothing, and prints on A4 and Letter alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from drunner_vault.kit.codes import Code, codes
from drunner_vault.kit.sheet import KeySheet, Kit, ServiceSheet, SignerSheet, Step, StoreSheet

KEY_FILE = "key.txt"  # what the page calls the identity's file
_LONG = 100  # characters of a line
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render(kit: Kit) -> str:
    """The page. Raises ValueError if the identity is too long for the codes of a page."""
    body = [_top(kit), _problems(kit.problems), _key(kit.key), _signers(kit.signers), _stores(kit.stores)]
    body += [
        _section("To get the services back, with drunner-vault", _INDENTED, _steps("ol", kit.with_us)),
        _section("To get the files back, without it", _steps("ol", kit.without_us)),
        _section("To check, now and once a year", _steps('ul class="boxes"', kit.checks)),
    ]
    style = resources.files("drunner_vault.kit").joinpath("page.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
            '<meta name="viewport" content="width=device-width">',
            '<meta name="robots" content="noindex">',
            f"<title>Recovery kit of {escape(kit.host)}</title>",
            f"<style>\n{style}</style>",
            '<p class="screen">Print this page, then delete its file.</p>' if kit.key else "",
            *filter(None, body),
            "</html>",
            "",
        ]
    )


def _top(kit: Kit) -> str:
    made = f"{kit.made:%Y-%m-%d %H:%M} UTC"
    if kit.key is None:
        band = '<p class="band plain">The key is not on this page. It is kept at: <span class="blank"></span></p>'
    else:
        with_it = "Whoever has it, and its passphrase," if kit.key.protected else "Whoever has it"
        band = (
            f'<p class="band">This page is a secret. {with_it} can read all backups that are made for this key. '
            "Keep it on paper, away from the host.</p>"
        )
    return (
        f'<h1>Recovery kit of {escape(kit.host)}</h1>\n<p class="meta">Made on {made} by drunner-vault '
        f"{escape(kit.version)}. Make a new one when keys, stores or signers change.</p>\n{band}"
    )


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in problems)
    return _section("Not in order when this was made", f'<ul class="wrong">{items}</ul>')


def _key(key: KeySheet | None) -> str:
    if key is None:
        return ""
    drawn = codes(key.text)
    words = [_FILE]
    if len(drawn) == 1:
        words.append("The code gives it to a scanner.")
    else:
        words.append(
            f"The {len(drawn)} codes hold it in pieces: scan them in order, and put the texts behind each other with "
            "nothing between."
        )
    if key.protected:
        words.append("It is encrypted: its passphrase, which is not on this page, is asked for when it is used.")
    if key.post_quantum:
        words.append("It is a post-quantum key: without drunner-vault, it takes age 1.3 or later.")
    digest = hashlib.sha256(key.text.encode()).hexdigest()
    return _section(
        "The key",
        f"<p>{' '.join(words)}</p>",
        f'<pre class="secret">{escape(_typed(key.text))}</pre>',
        _codes(drawn, KEY_FILE),
        f"<p>To see whether it was read rightly: <code>sha256sum {KEY_FILE}</code> says<br><code>{digest}</code></p>",
        "<p>A scanner that leaves out the end of the last line changes that number, and does no harm.</p>",
        *(f"<p>Its recipient: <code>{escape(_short(text))}</code></p>" for text in key.recipients),
    )


_FILE = f"""\
This is the file <code>{KEY_FILE}</code> that all commands on this page want. Whoever types it in may leave out lines
that begin with #."""


def _typed(text: str) -> str:
    """An identity file, without what nobody would type: the post-quantum recipient in a comment is half a page long."""
    return "\n".join(
        f"{line[:_LONG]}… (the codes have all of it)" if line.startswith("#") and len(line) > _LONG else line
        for line in text.splitlines()
    )


def _short(recipient: str) -> str:
    """A recipient; of a post-quantum one enough to tell it from others."""
    return recipient if len(recipient) <= _LONG else f"{recipient[:40]}… ({len(recipient)} characters)"


_INDENTED = "<p>An indented line goes on the one above it, after a space.</p>"
_TRUST = """\
<p>A restore runs what is in an archive as root, so a host restores only what was signed by someone it trusts. These
signed the archives below, or may:</p>"""


def _signers(signers: Sequence[SignerSheet]) -> str:
    if not signers:
        return ""
    parts: list[str] = []
    for signer in signers:
        before = "" if parts else _TRUST
        parts.append(
            f'<div class="whole">{before}{_lines([signer.line])}{_codes(codes(signer.line), signer.fingerprint)}</div>'
        )
    return _section("Whom to trust", *parts)


def _stores(stores: Sequence[StoreSheet]) -> str:
    parts = []
    for store in stores:
        parts.append(f"<pre>{escape(store.url)}</pre>\n<p>{escape(store.login)}</p>")
        if store.services:
            parts.append(_table(store.services))
    return _section("Where the archives are", *parts)


def _table(services: Iterable[ServiceSheet]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("Host", "Service", "Newest when this was made", "Encrypted to", ""))
    rows = []
    for item in services:
        cells = (item.host or "unknown", item.service, item.archive or "none", item.sealed_to)
        plain = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr>{plain}<td class="note">{escape(item.note)}</td></tr>')
    return f"<table><tr>{head}</tr>\n" + "\n".join(rows) + "</table>"


def _steps(element: str, steps: Sequence[Step]) -> str:
    items = "\n".join(f"<li><div>{escape(step.what)}{_lines(step.lines)}</div></li>" for step in steps)
    return f"<{element}>\n{items}\n</{element[:2]}>"


def _lines(lines: Sequence[str]) -> str:
    """Lines to type. On paper nobody sees whether a line was broken at a space: it is, and goes on indented."""
    shown = "\n".join(f"<div>{' '.join(map(_word, line.split(' ')))}</div>" for line in lines)
    return f'<div class="type">{shown}</div>' if lines else ""


def _word(text: str) -> str:
    return f"<span>{escape(text)}</span>" if text else ""


def _codes(drawn: Sequence[Code], name: str) -> str:
    figures = []
    for number, code in enumerate(drawn, 1):
        caption = escape(name) + (f", {number} of {len(drawn)}" if len(drawn) > 1 else "")
        figures.append(f'<figure style="width:{code.width}mm">{code.svg}<figcaption>{caption}</figcaption></figure>')
    return f'<div class="codes">{"".join(figures)}</div>'


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"
