"""Pictures and tables in the terminal."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

Pixels = NDArray[np.float32]
MOST_BORDER = 4
SHADES = " .:-=+*#%@"
STATUS_STYLE = {"ok": "", "skipped": "dim"}


def picture(pixels: Pixels, *, colour: bool, columns: int = 64) -> Text:
    """Pixels [C, H, W] in [0, 1]: two to a character, one above the other; without colour, by how dark they are.

    What is wider than `columns` loses a little of its border, or is made smaller.
    """
    pixels = _fitted(pixels, columns)
    if pixels.shape[1] % 2:
        pixels = np.pad(pixels, ((0, 0), (0, 1), (0, 0)))
    if not colour:
        grey = pixels.mean(axis=0).clip(0, 1)
        pairs = (grey[::2] + grey[1::2]) / 2
        ramp = np.array(list(SHADES))[np.rint(pairs * (len(SHADES) - 1)).astype(int)]
        return Text("\n".join("".join(row) for row in ramp), no_wrap=True)
    levels = np.rint(pixels.clip(0, 1) * 255).astype(int)
    rgb = np.repeat(levels, 3, axis=0) if len(levels) == 1 else levels
    text = Text(no_wrap=True)
    for row in range(0, rgb.shape[1], 2):
        for column in range(rgb.shape[2]):
            upper, lower = (f"rgb({','.join(map(str, rgb[:, r, column]))})" for r in (row, row + 1))
            text.append("▀", style=f"{upper} on {lower}")
        text.append("\n")
    text.right_crop(1)
    return text


def _fitted(pixels: Pixels, columns: int) -> Pixels:
    height, width = pixels.shape[1:]
    if width <= columns:
        return pixels
    if width - columns <= MOST_BORDER:
        left = (width - columns) // 2
        return pixels[:, :, left : left + columns]
    size = (columns, max(1, round(height * columns / width)))
    planes = [Image.fromarray(plane).resize(size, Image.Resampling.BOX) for plane in np.ascontiguousarray(pixels)]
    return np.stack([np.asarray(plane) for plane in planes])


def has_colour(console: Console) -> bool:
    """Whether pictures can be drawn in colour: not in a pipe, not with NO_COLOR."""
    return console.color_system is not None and not console.no_color


def percent(share: float) -> str:
    """A share as per cent; never 100% for what is less, nor 0% for what is more.

    >>> [percent(share) for share in (1.0, 0.9998, 0.5, 0.0002, 0.0)]
    ['100.0%', '>99.9%', '50.0%', '<0.1%', '0.0%']
    """
    if 0.9995 <= share < 1:
        return ">99.9%"
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def precision_name(precision: dict[str, int]) -> str:
    """`fp32` or `w2a4`."""
    return "fp32" if precision["weights"] == 32 else f"w{precision['weights']}a{precision['activations']}"


def members_table(document: dict[str, Any]) -> Table:
    """The members of an answer, each with its vote, confidence and time."""
    table = Table("member", "precision", "vote", "confidence", "time", box=None, header_style="dim", pad_edge=False)
    for member in document["members"]:
        status = member["status"]
        vote = member["label"] if status == "ok" else status
        confidence = "" if member["confidence"] is None else percent(member["confidence"])
        time = "" if status == "skipped" else f"{member['latency_ms']:.2f} ms"
        row = (member["name"], precision_name(member["precision"]), vote, confidence, time)
        table.add_row(*row, style=STATUS_STYLE.get(status, "red"))
    return table
