"""The command `empir`: hands over to the packages' own command lines, importing only the one that is asked for."""

import importlib
import importlib.metadata
from pathlib import Path
from typing import Any, ClassVar

import click

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
EXTRA = {"export": 'pip install -e ".[export]"', "benchmarks": 'pip install -e ".[export]"'}


def command_of(module: str, name: str) -> click.Command:
    """A package's command; where a package that it needs is missing, a message with what to install."""
    try:
        command = importlib.import_module(module).main.commands[name]
    except ModuleNotFoundError as error:
        hint = EXTRA.get(module.split(".", maxsplit=1)[0])
        if hint is None:
            raise
        raise click.ClickException(f"{name} needs the package {error.name}: {hint}") from error
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])


class Load(Lazy):
    """`empir load`: ways to measure, in two packages."""

    table = LOAD_COMMANDS


def held_out(manifest: Any, data_dir: Path | None) -> Any:
    """The test images of a bundle's data set: handed to robustness, which may not import export, that has them."""
    try:
        return importlib.import_module("export.data.held_out").held_out(manifest, data_dir)
    except ModuleNotFoundError as error:
        hint = f"{EXTRA['export']}, or pass --images"
        raise click.ClickException(f"evaluate needs the package {error.name}: {hint}") from error


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        try:
            click.echo(importlib.metadata.version("empir-serve"))
        except importlib.metadata.PackageNotFoundError:
            click.echo("a checkout that was not installed")
        ctx.exit()


@click.group(cls=Lazy)
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
