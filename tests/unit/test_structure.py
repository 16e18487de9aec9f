"""What holds the whole together: layers, quick starts, help for every command, errors with their exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from drunner_vault import errors
from drunner_vault.cli.overview import SECTIONS, WIDEST, overview
from drunner_vault.cli.program import program

ROOT = Path(__file__).parents[2]
COMMANDS = [name for names in SECTIONS.values() for name in names]


def test_imports_go_down_the_layers() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["verify", "/nonexistent"], ["backup", "--help"]])
def test_starting_does_not_import_docker_or_boto3(arguments: list[str]) -> None:
    code = f"""
import sys
from drunner_vault.cli import main
sys.argv = ["drunner-vault", *{arguments!r}]
try:
    main()
except SystemExit:
    pass
print(sorted({{"docker", "boto3"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_the_quick_overview_says_what_click_would(columns: int) -> None:
    width = max(min(columns, WIDEST) - 2, 50)
    context = click.Context(program, info_name="drunner-vault", terminal_width=width, **program.context_settings)
    assert overview(columns).split("\n") == program.get_help(context).split("\n")


def test_the_overview_does_not_import_click() -> None:
    code = "import sys; from drunner_vault.cli import main\ntry: main()\nfinally: sys.exit('click' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert (command.help or "").strip()
    assert "Example: drunner-vault" in (command.epilog or "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_readme(name: str) -> None:
    assert f"`{name} " in (text := (ROOT / "README.md").read_text()) or f"`{name}`" in text or f" {name} " in text


def test_destroy_is_another_name_of_obliterate() -> None:
    context = click.Context(program)
    assert program.get_command(context, "destroy") is program.get_command(context, "obliterate")
    assert "destroy" not in program.get_help(context)


def test_every_error_is_in_the_tree_at_the_top_of_its_file() -> None:
    classes = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, Exception)]
    assert len(classes) > 20
    for error in classes:
        assert error.__name__ in (errors.__doc__ or "")


def test_bad_usage_exits_1_with_one_error_and_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "drunner_vault", "nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.splitlines()[1].startswith("hint: ")


def test_no_arguments_show_the_help() -> None:
    done = subprocess.run([sys.executable, "-m", "drunner_vault"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Services:" in done.stdout
