"""The command `empir`: hands over to the packages' own command lines, importing only the one that is asked for."""

import importlib
import importlib.metadata

import click

COMMANDS = {
    "serve": ("service.cli", "Serve the bundles of a folder over HTTP."),
    "predict": ("runtime.cli", "Classify an image, without a server."),
    "probe": ("robustness.cli", "Attack an image, and show whether the vote holds."),
    "bundles": ("runtime.cli", "List the bundles of a folder, verified."),
    "train": ("export.cli", "Train an ensemble and write it as a bundle."),
    "check": ("export.cli", "Prove a bundle again: checksums, and parity with PyTorch."),
    "load": ("loadtest.cli", "Put a server under load and report its latency."),
}
EXTRA = {"export": 'pip install -e ".[export]"'}


class Lazy(click.Group):
    """A group whose commands are imported when they run; their one-line help stands here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = COMMANDS[cmd_name][0]
        try:
            command = importlib.import_module(module).main.commands[cmd_name]
        except ModuleNotFoundError as error:
            hint = EXTRA.get(module.split(".")[0])
            if hint is None:
                raise
            raise click.ClickException(f"{cmd_name} needs the package {error.name}: {hint}") from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


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
def main() -> None:
    """Ensembles of full- and low-precision image classifiers that vote: train, serve, attack.

    \b
    First steps:
      empir serve
      empir predict samples/7.png
      empir probe samples/7.png
    """


if __name__ == "__main__":
    main()
