"""The command `empir`: hands over to the packages' own command lines, importing only the one that is asked for."""

from runtime.late_imports import INTERRUPTED, ending_at_once, import_late

with ending_at_once():
    import difflib
    import importlib.metadata
    import itertools
    import os
    import shlex
    import sys
    from collections.abc import Sequence
    from contextlib import suppress
    from pathlib import Path
    from typing import Any, ClassVar, NoReturn

    import click

NAME = "empir"
REFUSED, DEFECT = 1, 70
"""Exit codes, beside 0, click's 2 for a command line that is wrong, and INTERRUPTED."""

COMMANDS = {
    "serve": ("service.cli", "Serve the bundles of a folder over HTTP."),
    "predict": ("runtime.cli", "Classify an image, without a server."),
    "probe": ("robustness.cli", "Attack an image, and show whether the vote holds."),
    "evaluate": ("robustness.evaluation.evaluate_cli", "Measure how robust a bundle is, on its test images."),
    "report": ("robustness.reporting.report_cli", "Draw the page of a report again."),
    "bundles": ("runtime.cli", "List the bundles of a folder, verified."),
    "train": ("export.cli", "Train an ensemble and write it as a bundle."),
    "quantize": ("export.quantize_cli", "Turn any ONNX image classifier into a bundle, without training."),
    "check": ("robustness.claims.check_cli", "Prove a bundle again, or judge somebody's adversarial images."),
    "threshold": ("export.threshold", "Choose when an image is suspicious, on validation images."),
    "load": ("empir", "Put a server under load, or measure a bundle without one."),
    "doctor": ("service.doctor.cli", "Examine machine, settings and bundles, and say what to do."),
}
LOAD_COMMANDS = {
    "run": ("loadtest.cli", "Send requests to a server, and report its latency."),
    "capacity": ("loadtest.cli", "The highest rate that holds a latency objective."),
    "soak": ("loadtest.cli", "A long run: drift of latency, growth of memory."),
    "compare": ("loadtest.cli", "Several servers side by side, and their ratios."),
    "engine": ("benchmarks.engine", "A bundle's limits in this process, and what share reaches a client."),
}
LOAD_HELP = """Put a server under load, or measure a bundle without one.

\b
Examples:
  empir load run --rate 200 --duration 10 http://127.0.0.1:8000
  empir load capacity --p99 10ms http://127.0.0.1:8000
  empir load engine mnist-empir
"""
EPILOG = """Every command has --help with examples, and --json where it gives data. Colours appear on a terminal only,
and not with NO_COLOR.

\b
Exit codes:
  0    done
  1    refused, failed or found wanting; the error says why
  2    the command line is wrong
  3    `empir load`: the load generator was the limit, not the server
  4    `empir load`: an objective was missed
  70   a mistake of this program: --debug shows where
  130  interrupted
"""


def command_of(module: str, name: str) -> click.Command:
    """A package's command; where a package that it needs is missing, a message with what to install."""
    command = import_late(module, name).main.commands[name]
    assert isinstance(command, click.Command)
    return command


class Lazy(click.Group):
    """A group whose commands are imported when they run; their one-line help stands here."""

    table: ClassVar[dict[str, tuple[str, str]]] = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module = self.table[cmd_name][0]
        return Load(cmd_name, help=LOAD_HELP) if module == "empir" else command_of(module, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.table, n=1)
            if not near:
                raise
            raise click.UsageError(f"{error.format_message()} Did you mean '{near[0]}'?", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])


class Empir(Lazy):
    """The whole command: what goes wrong in any of its commands is said in one or two lines, with an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and leave with an exit code; `--debug` before the command lets an exception through."""
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(arguments, prog_name or NAME, complete_var, standalone_mode=False, **extra)
        except (click.Abort, KeyboardInterrupt):
            _say_interrupted()  # on a line of its own: click has ended the one before
        except BrokenPipeError:  # such as `empir bundles | head -1`: nobody reads on
            _to_nowhere()
            sys.exit(REFUSED)
        except Exception as error:
            if "--debug" in itertools.takewhile(lambda argument: argument.startswith("-"), arguments):
                raise
            _leave(error, arguments)
        sys.exit(code if isinstance(code, int) else 0)


class Load(Lazy):
    """`empir load`: ways to measure, in two packages."""

    table = LOAD_COMMANDS


def _leave(error: Exception, arguments: list[str]) -> NoReturn:
    """Say what went wrong in a line, what to do in another, and leave."""
    if isinstance(error, click.UsageError) and not isinstance(error, click.exceptions.NoArgsIsHelpError):
        path = error.ctx.command_path if error.ctx is not None else NAME
        says, try_this = error.format_message(), f"{path} --help"
        if isinstance(error, click.NoSuchOption) and error.option_name == "--debug":
            says = "--debug: expected before the command"
            try_this = shlex.join([NAME, "--debug", *(each for each in arguments if each != "--debug")])
        click.echo(f"Error: {says}\nTry: {try_this}", err=True)
        sys.exit(error.exit_code)
    if isinstance(error, click.ClickException):
        error.show()
        sys.exit(error.exit_code)
    if isinstance(error, OSError) and error.filename is not None:
        click.echo(f"Error: {error.filename}: {error.strerror}", err=True)
        sys.exit(REFUSED)
    if _after_an_interrupt(error):
        _say_interrupted()
    said = (str(error).strip() or "no words").splitlines()[0]
    again = shlex.join([NAME, "--debug", *arguments])
    click.echo(f"Error: {type(error).__name__}: {said}\nThis should not happen; to see where it did: {again}", err=True)
    sys.exit(DEFECT)


def _after_an_interrupt(error: BaseException) -> bool:
    """Whether the error came of Ctrl-C: raised in an import, KeyboardInterrupt may come out as another exception."""
    before = error.__context__
    return before is not None and (isinstance(before, KeyboardInterrupt) or _after_an_interrupt(before))


def _say_interrupted() -> NoReturn:
    click.echo("Interrupted.", err=True)
    sys.exit(INTERRUPTED)


def _to_nowhere() -> None:
    """Let what is still in standard output's buffer go to nowhere: Python flushes it at the end, and would complain."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def held_out(manifest: Any, data_dir: Path | None, skip_unreadable: bool = False) -> Any:
    """The test images of a bundle's data set: handed to robustness, which may not import export, that has them."""
    module = import_late("export.data.held_out", "evaluate", instead=", or pass --images")
    return module.held_out(manifest, data_dir, skip_unreadable)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        try:
            click.echo(importlib.metadata.version("empir-serve"))
        except importlib.metadata.PackageNotFoundError:
            click.echo("a checkout that was not installed")
        ctx.exit()


@click.group(NAME, cls=Empir, epilog=EPILOG)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the whole traceback of an error.")
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show it and exit."
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Ensembles of full- and low-precision image classifiers that vote: train, serve, attack.

    \b
    First steps:
      empir serve
      empir predict samples/7.png
      empir probe samples/7.png
    """
    ctx.obj = held_out
    ctx.meta["empir.prove"] = lambda: command_of("export.cli", "check")


if __name__ == "__main__":
    main()
