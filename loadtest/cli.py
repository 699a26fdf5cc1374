"""Command line of loadtest: `empir load`."""

import click

from loadtest.commands.capacity import capacity
from loadtest.commands.compare import compare_servers
from loadtest.commands.run import run
from loadtest.commands.soak import soak


@click.group()
def main() -> None:
    """Put a server under load.

    Of an EMPIR Serve a report says which bundle was measured, if `pip install ./clients/python` has been done.
    """


for command in (run, capacity, soak, compare_servers):
    main.add_command(command)
