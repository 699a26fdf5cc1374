"""ImageNet, and Imagenette, the ten easy classes of it."""

import tarfile
import tempfile
from pathlib import Path
from typing import Unpack

from export.data.examples import DataError, DataSet
from export.data.fetch import Published, cache_folder
from export.data.image_files import class_folders
from export.data.image_folder import FolderOptions, load_image_folder
from runtime.manifest import Input

IMAGENET_FOLDERS = ("imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")
IMAGENET_CLASSES, IMAGENETTE_CLASSES = 1_000, 10
IMAGENETTE_FOLDERS = (
    "imagenette",
    "imagenette/imagenette2-320",
    "imagenette2-320",
    "imagenette2",
    "imagenette2-160",
)
IMAGENETTE = Published(
    title="Imagenette",
    folder="imagenette",
    md5={"imagenette2-320.tgz": "3df6f0d01a2c9592104656642f5e78a3"},
    urls=("https://s3.amazonaws.com/fast-ai-imageclas/",),
)


def load_imagenet(data_dir: Path | None, spec: Input, **options: Unpack[FolderOptions]) -> DataSet:
    """ImageNet (ILSVRC 2012; Russakovsky et al., 2015), 1,000 classes: val/ is the test, 5,000 of train/ validation.

    From `data_dir`/imagenet, ILSVRC2012, ILSVRC/Data/CLS-LOC or `data_dir` itself, with a folder for each class in
    both splits; `options` are those of `load_image_folder`, as are the errors, and one for a folder of more or fewer
    classes. It cannot be downloaded.
    """
    folder = _find(data_dir, IMAGENET_FOLDERS)
    if folder is None:
        raise DataError(
            f"ImageNet is not in {data_dir or 'a folder that was named'}. Get ILSVRC 2012 from https://image-net.org, "
            "sort the validation images into a folder for each class, and pass --data-dir DIR with train and val in "
            "DIR/imagenet, or set EMPIR_DATA_DIR."
        )
    _refuse_other_classes(folder, "ImageNet", IMAGENET_CLASSES)
    return load_image_folder(folder, spec, "ImageNet", **options)


def load_imagenette(data_dir: Path | None, spec: Input, **options: Unpack[FolderOptions]) -> DataSet:
    """Imagenette (Howard, 2019), ten easily told classes of ImageNet: val/ is the test, a tenth of train/ validation.

    From `data_dir`/imagenette, imagenette2-320, imagenette2, imagenette2-160 or `data_dir` itself, else downloaded
    (shorter side 320 pixels) to `data_dir`/imagenette, or to the user's cache folder, and unpacked there; `options` are
    those of `load_image_folder`, as are the errors, and one for a folder of more or fewer classes.
    """
    folder = _find(data_dir or cache_folder(), IMAGENETTE_FOLDERS) or _unpack(data_dir)
    _refuse_other_classes(folder, "Imagenette", IMAGENETTE_CLASSES)
    return load_image_folder(folder, spec, "Imagenette", **options)


def _find(data_dir: Path | None, names: tuple[str, ...]) -> Path | None:
    folders = () if data_dir is None else (*(data_dir / name for name in names), data_dir)
    return next((folder for folder in folders if (folder / "train").is_dir()), None)


def _refuse_other_classes(folder: Path, title: str, classes: int) -> None:
    """Raise DataError unless there are so many class folders: any data set may have a folder train/."""
    found = len(class_folders(folder / "train"))
    if found != classes:
        raise DataError(f"{folder / 'train'}: expected the {classes:,} class folders of {title}, got {found:,}")


def _unpack(data_dir: Path | None) -> Path:
    """The folder that the archive holds, found or downloaded, and unpacked beside it: whole, by a rename."""
    place = IMAGENETTE.find(data_dir) or IMAGENETTE.fetch(data_dir)
    (name,) = IMAGENETTE.md5
    target = place / name.removesuffix(".tgz")
    try:
        with tempfile.TemporaryDirectory(dir=place) as scratch, tarfile.open(place / name) as archive:
            archive.extractall(scratch, filter="data")
            (Path(scratch) / target.name).rename(target)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{place / name}: cannot be unpacked to {target}: {error}") from error
    return target
