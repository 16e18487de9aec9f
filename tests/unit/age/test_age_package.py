"""What the package offers, and what it may lean on."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import drunner_vault.age as package

ROOT = Path(package.__file__).parent


def imported_by(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_the_exported_names_exist_and_are_sorted() -> None:
    assert all(hasattr(package, name) for name in package.__all__)
    assert len(set(package.__all__)) == len(package.__all__)


def test_age_leans_on_the_standard_library_cryptography_and_our_errors_only() -> None:
    modules = sorted(ROOT.glob("*.py"))
    assert len(modules) > 10
    for path in modules:
        for name in imported_by(path):
            top = name.split(".")[0]
            ours = name == "drunner_vault.errors" or (name + ".").startswith("drunner_vault.age.")
            assert ours or top == "cryptography" or top in sys.stdlib_module_names, (path.name, name)
