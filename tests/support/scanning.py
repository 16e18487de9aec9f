"""Reading QR codes back with zbar, which had no part in making them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

_SCALE = 4  # pixels a module
_STEP = re.compile(r"([Mmh])(-?[\d.]+)(?: (-?[\d.]+))?")
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def missing_scanner() -> str:
    """What scanning needs and is not here; empty if all is."""
    return "" if shutil.which("zbarimg") else "zbarimg is missing: scripts/install-packages.sh tools"


def missing_printer() -> str:
    """What printing needs and is not here; empty if all is."""
    wanted = {"Chromium": _browser(), "pdftoppm": shutil.which("pdftoppm")}
    missing = [name for name, path in wanted.items() if path is None]
    return f"missing: {', '.join(missing)}: scripts/install-packages.sh tools" if missing else ""


def drawings(page: str) -> list[str]:
    """The SVG elements of a page, in order."""
    return re.findall(r"<svg.*?</svg>", page, re.DOTALL)


def scan_drawing(svg: str, directory: Path) -> bytes:
    """What the one code in an SVG element holds, as a scanner tells it that is asked for text."""
    picture = directory / "code.pgm"
    picture.write_bytes(_raster(svg))
    return _zbarimg(picture).removesuffix(b"\n")  # its own


def scan(picture: Path) -> bytes:
    """The bytes in all codes of a picture, in any order; nothing if there is none."""
    return _zbarimg(picture, "-Sbinary")


def _zbarimg(picture: Path, *options: str) -> bytes:
    command = ["zbarimg", "--quiet", "--nodbus", "--raw", "-Sdisable", "-Sqrcode.enable", *options, picture]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode in (0, 4), done.stderr  # 4: there is no code
    return done.stdout


def printed(page: Path, directory: Path) -> list[Path]:
    """A page as it comes out of a printer: a picture of each sheet, at 150 dots an inch."""
    browser, pdf = _browser(), directory / "printed.pdf"
    assert browser is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer"]
    profile = f"--user-data-dir={directory / 'profile'}"
    command = [browser, *options, profile, f"--print-to-pdf={pdf}", page.as_uri()]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    subprocess.run(["pdftoppm", "-r", "150", "-gray", pdf, directory / "sheet"], check=True)
    return sorted(directory.glob("sheet-*.pgm"))


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


def _raster(svg: str) -> bytes:
    """A drawing of horizontal strokes, one unit wide, as a grey picture."""
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    path = re.search(r' d="([^"]+)"', svg)
    assert box is not None
    assert path is not None
    side = int(box[1])
    dark = [bytearray(b"\xff" * side) for _ in range(side)]
    x = y = 0.0
    for command, first, second in _STEP.findall(path[1]):
        if command == "h":
            dark[int(y)][int(x) : int(x + float(first))] = bytes(int(first))
            x += float(first)
        else:
            x, y = (x, y) if command == "m" else (0.0, 0.0)
            x, y = x + float(first), y + float(second)
    rows = [b"".join(bytes([value]) * _SCALE for value in row) * _SCALE for row in dark]
    return b"P5 %d %d 255\n" % (side * _SCALE, side * _SCALE) + b"".join(rows)
