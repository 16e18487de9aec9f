"""The program as click has it: all commands, their errors and exit codes."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from drunner_vault import __version__
from drunner_vault.cli.common import stop_on_signals
from drunner_vault.cli.output import Output
from drunner_vault.cli.overview import ABOUT, EXAMPLE, SECTIONS, UNLISTED, WIDEST
from drunner_vault.errors import BadUsage, Interrupted, VaultError

# What follows the service's name is the service's, even where it looks like an option of ours.
PASSING_ON = ("enter", "servicecmd")

FORMER_NAMES = {"destroy": "obliterate"}  # what scripts of 2016 may still call; not shown


class Commands(click.Group):
    """Loads a command's module when it is needed, and lists commands by section."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = FORMER_NAMES.get(cmd_name, cmd_name)
        if name not in (*self.list_commands(ctx), *UNLISTED):
            return None
        module = import_module(f"drunner_vault.cli.{name}_command")
        command = module.command
        assert isinstance(command, click.Command)  # noqa: S101 (a promise of our own modules)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, lines in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(lines.items()))


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST},
    help=ABOUT,
    epilog=EXAMPLE,
)
@click.version_option(__version__, prog_name="drunner-vault")
@click.pass_context
def program(ctx: click.Context) -> None:
    """See ABOUT."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(arguments: list[str]) -> NoReturn:
    """Run the program. Exits 0 done, 1 error, 3 nothing to change, 130 interrupted."""
    stop_on_signals()
    try:
        sys.exit(_run(arguments))
    except VaultError as error:
        _fail(arguments, error)
    except click.ClickException as error:
        _fail(arguments, BadUsage(error.format_message(), _usage_hint(error)))
    except (KeyboardInterrupt, click.Abort):
        _fail(arguments, Interrupted("interrupted"))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads on; Python would complain when it flushes
        sys.exit(1)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        _fail(arguments, VaultError(f"internal error, {reason}", "run it again with --debug and report what it prints"))


def _run(arguments: list[str]) -> int:
    result = program.main(args=arguments, prog_name="drunner-vault", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _fail(arguments: list[str], error: VaultError) -> NoReturn:
    """Show the error of the exception that is being handled, and exit with its code."""
    own = _our_own(arguments)
    if "--debug" in own:
        import traceback

        traceback.print_exc()
    Output(as_json="--json" in own).error(error)
    sys.exit(error.exit_code)


def _our_own(arguments: list[str]) -> list[str]:
    """The arguments that may hold our options; what is passed on to a service may not."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if arguments and arguments[0] in PASSING_ON:
        end = next((at for at, word in enumerate(arguments) if at and not word.startswith("-")), end)
    return arguments[:end]


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context else "drunner-vault --help"
