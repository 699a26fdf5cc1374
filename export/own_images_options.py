"""The options of `empir train --images`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]

ROBUST_EPS = "4/255"
MOST_EPOCHS = 1_000


def own_options(command: Command) -> Command:
    """The options of `empir train` that go with --images."""
    options = (
        click.option("--images", type=click.Path(path_type=Path), help="Your own: a folder with a folder a class."),
        click.option("--size", type=click.IntRange(16, 256), help="Side of the images in pixels. [32 or 64]"),
        click.option(
            "--epochs", type=click.IntRange(1, MOST_EPOCHS), help="Rounds over all images. [by their number: 10 to 60]"
        ),
        click.option(
            "--minutes", type=click.FloatRange(0, min_open=True), help="Train for so long: as many epochs as fit."
        ),
        click.option("--seed", type=click.IntRange(0), help="Of weights and of the order of images. [0]"),
        click.option("--members", help="Precisions, w1a1 to w8a8 or fp32. [fp32,w8a8,w4a4]"),
        click.option(
            "--robust", is_flag=True, default=None, help="Train against attacks; takes two to three times as long."
        ),
        click.option("--eps", help=f"Size of these attacks (Linf). [{ROBUST_EPS}]"),
        click.option("--skip-unreadable", is_flag=True, default=None, help="Leave unreadable images out; count them."),
    )
    for option in reversed(options):
        command = option(command)
    return command
