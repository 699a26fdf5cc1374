"""Pictures and tables in the terminal."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

Pixels = NDArray[np.float32]
STATUS_STYLE = {"ok": "", "skipped": "dim"}


def picture(pixels: Pixels) -> Text:
    """Pixels [C, H, W] in [0, 1] as half blocks: one character for two pixels, one above the other."""
    levels = np.rint(pixels.clip(0, 1) * 255).astype(int)
    rgb = np.repeat(levels, 3, axis=0) if len(levels) == 1 else levels
    if rgb.shape[1] % 2:
        rgb = np.pad(rgb, ((0, 0), (0, 1), (0, 0)))
    text = Text(no_wrap=True)
    for row in range(0, rgb.shape[1], 2):
        for column in range(rgb.shape[2]):
            upper, lower = (f"rgb({','.join(map(str, rgb[:, r, column]))})" for r in (row, row + 1))
            text.append("▀", style=f"{upper} on {lower}")
        text.append("\n")
    text.right_crop(1)
    return text


def precision_name(precision: dict[str, int]) -> str:
    """`fp32` or `w2a4`."""
    return "fp32" if precision["weights"] == 32 else f"w{precision['weights']}a{precision['activations']}"


def members_table(document: dict[str, Any]) -> Table:
    """The members of an answer, each with its vote, confidence and time."""
    table = Table("member", "precision", "vote", "confidence", "time", box=None, header_style="dim", pad_edge=False)
    for member in document["members"]:
        status = member["status"]
        vote = member["label"] if status == "ok" else status
        confidence = "" if member["confidence"] is None else f"{member['confidence']:.1%}"
        time = "" if status == "skipped" else f"{member['latency_ms']:.2f} ms"
        row = (member["name"], precision_name(member["precision"]), vote, confidence, time)
        table.add_row(*row, style=STATUS_STYLE.get(status, "red"))
    return table
