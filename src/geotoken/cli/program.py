"""The command `geotoken` and its subcommands.

Owns how they hang together; must not know what any of them does.
"""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from geotoken.cli import gallery, models, tokens, train
from geotoken.cli.embed import embed
from geotoken.cli.errors import exit_codes, print_error
from geotoken.cli.evaluate import evaluate
from geotoken.cli.export import export
from geotoken.cli.locate import locate
from geotoken.cli.serve import serve
from geotoken.version import __version__

UsageError: type[Exception] = typer.BadParameter.__base__ or Exception
"""Base of what Typer raises for a wrong call; some releases have a copy of click of their own."""


class Program(TyperGroup):
    """The commands; a mistake in how one is called is one line on stderr, as every other error."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command.

        Args:
            *args: As Typer's.
            standalone_mode: Whether to end the process; else exceptions are for the caller.
            **extra: As Typer's.

        Returns:
            What the command returns, if the process goes on.

        Raises:
            SystemExit: With the exit code, in standalone mode.
        """
        extra["standalone_mode"] = False
        if not standalone_mode:
            return super().main(*args, **extra)
        try:
            code = super().main(*args, **extra)
        except UsageError as error:
            usage: Any = error
            message = usage.format_message().rstrip(".")
            if message:  # else there were no arguments, and the help was printed
                command = usage.ctx.command_path if usage.ctx else "geotoken"
                print_error(f"{message}; see {command} --help")
            raise SystemExit(usage.exit_code) from error
        raise SystemExit(code if isinstance(code, int) else 0)


app = typer.Typer(
    name="geotoken",
    cls=Program,
    help="Where on Earth was this photo taken? Offline, with an honest probability.",
    epilog="Exit codes: 0 ok, 1 bug, 2 usage or input, 3 model or gallery folder, 4 part of a batch failed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("locate")(locate)
app.command("eval")(evaluate)
app.command("embed")(embed)
app.add_typer(gallery.app, name="gallery")
app.add_typer(tokens.app, name="tokens")
app.add_typer(models.app, name="models")
app.command("export")(export)
app.add_typer(train.app, name="train")
app.command("serve")(serve)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"geotoken {__version__}")
        raise typer.Exit


@app.callback()
def _geotoken(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line of this process and exit with its code.

    Raises:
        SystemExit: Always.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a place name must not fail for a terminal of few letters
            stream.reconfigure(errors="replace")
    code = 0
    try:
        with exit_codes("--debug" in sys.argv):
            try:
                app(prog_name="geotoken")
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0
    except typer.Exit as stop:
        code = stop.exit_code
    raise SystemExit(code)
