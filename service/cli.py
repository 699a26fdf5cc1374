"""Command line of the service: `empir serve`."""

import os
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from runtime.errors import EmpirError
from runtime.expectation import expectation
from service.doctor import variables
from service.settings import Settings


@click.group()
def main() -> None:
    """Serve ensembles over HTTP."""


@main.command()
@click.option("--host", help="Address to listen on. [127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 picks a free one. [8000]")
@click.option("--workers", type=int, help="Processes that share the port and the cores. [1]")
@click.option("--bundles", type=click.Path(path_type=Path), help="Folder of the bundles to serve. [bundles]")
@click.option("--default", help="Bundle that answers when a request names none. [mnist]")
@click.option("--mode", help="How a vote is carried out by default: full or quorum. [full]")
@click.option("--grpc-port", type=int, help="Port of gRPC (Open Inference Protocol); needs the extra `grpc`. [off]")
@click.option("--log-format", help="One line a request: json, console, or auto. [auto]")
def serve(**flags: Any) -> None:
    """Serve every bundle of a folder.

    Every setting is also a variable: EMPIR_PORT=9000 is --port 9000; docs/reference/settings.md lists them all.

    \b
    Examples:
      empir serve
      empir serve --port 9000 --bundles bundles --default mnist-empir
      EMPIR_MODE=quorum empir serve --workers 2
    """
    for warning in variables.unknown(os.environ):
        click.echo(f"Warning: {warning.found}. {warning.advice}", err=True)
    try:
        _run(Settings(**{name: value for name, value in flags.items() if value is not None}))
    except ValidationError as error:
        first = error.errors()[0]
        names = names_of(str(first["loc"][0]))
        raise click.ClickException(f"{' / '.join(names)}: {expectation(first)}, got {first['input']!r}") from error
    except (EmpirError, OSError) as error:
        raise click.ClickException(str(error)) from error


def names_of(setting: str) -> list[str]:
    """What a setting is called: the flag, if `empir serve` has one for it, and the variable.

    >>> names_of("log_format"), names_of("queue")
    (['--log-format', 'EMPIR_LOG_FORMAT'], ['EMPIR_QUEUE'])
    """
    flags = [f"--{setting.replace('_', '-')}"] if setting in (option.name for option in serve.params) else []
    return [*flags, f"EMPIR_{setting.upper()}"]


def _run(settings: Settings) -> None:
    if settings.workers > 1:
        from service.workers import serve_with_workers

        serve_with_workers(settings)
    else:
        from service.server import serve as serve_alone

        serve_alone(settings)
