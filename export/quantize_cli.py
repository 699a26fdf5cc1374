"""Command line of quantization after training: `empir quantize`; its help needs no package of the extra."""

from pathlib import Path
from typing import Any

import click

from export.post_training.quantize_parameters import CALIBRATION_IMAGES, FIGURE_IMAGES, Members, Numbers
from runtime.late_imports import import_late


@click.group()
def main() -> None:
    """Quantize networks after training."""


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of pictures, flat or with a folder for each class.",
)
@click.option(
    "--members", type=Members(), default="fp32,int8,w4a8", show_default=True, help="fp32, int8, w2a8 to w8a8."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the bundle, and its name.")
@click.option(
    "--labels", help="File with a label on each line (or id, tab, label), or `imagenet`. [class 0, class 1, ...]"
)
@click.option("--input-range", type=Numbers(), default="0,1", show_default=True, help="What black and white are to it.")
@click.option("--mean", type=Numbers(), default="0", show_default=True, help="Subtracted then, one for each channel.")
@click.option("--std", type=Numbers(), default="1", show_default=True, help="Divided by then, one for each channel.")
@click.option(
    "--resize",
    type=click.Choice(["center_crop", "stretch"]),
    default="center_crop",
    show_default=True,
    help="Of pictures.",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(2),
    default=CALIBRATION_IMAGES,
    show_default=True,
    help="At most; half of all.",
)
@click.option(
    "--figure-images",
    type=click.IntRange(1),
    default=FIGURE_IMAGES,
    show_default=True,
    help="At most, for the figures.",
)
@click.option("--plain", is_flag=True, help="Round weights to the nearest level, with no correction, for comparison.")
@click.option("--skip-unreadable", is_flag=True, help="Leave unreadable pictures out, and count them.")
@click.option("--force", is_flag=True, help="Replace a bundle that is at --out already.")
@click.option("--json", "as_json", is_flag=True, help="The manifest, for machines; all else goes to standard error.")
def quantize(out: Path, force: bool, as_json: bool, **asked: Any) -> None:
    """Turn MODEL, any image classifier in ONNX, into a bundle of quantized copies that vote.

    The model takes float32 [N, C, H, W]: a pixel of 0..1 is brought to --input-range, then --mean is subtracted and
    --std divided by, inside the members. Half of the pictures at most calibrate; others give the figures.

    \b
    Examples:
      empir quantize resnet18.onnx --calibration photos --labels imagenet --out bundles/resnet18 \\
          --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
    """
    import_late("export.quantize_command", "quantize").quantize(out, asked, force=force, as_json=as_json)
