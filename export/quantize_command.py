"""What `empir quantize` does, once its packages are loaded."""

import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from export.bundle_folder import Source, refuse_to_overwrite
from export.data.examples import SPLIT_SEED, left_out
from export.data.image_files import listing_sha256
from export.post_training.calibration import Labels, Photos, calibration_photos
from export.post_training.classifier import Classifier, read_classifier
from export.post_training.onnx_nodes import OnnxGraph
from export.post_training.operators import gridded
from export.post_training.quantize_report import assumptions, summary
from export.post_training.quantized_bundle import MemberGraph, quantized_member, write_quantized_bundle
from export.quantize_request import Request, request_of
from runtime.errors import BundleError, EmpirError, described
from runtime.manifest import Input, Manifest


def quantize(out: Path, asked: dict[str, Any], *, force: bool, as_json: bool) -> None:
    """Quantize as the options `asked` say, and show it. Raises click.UsageError and click.ClickException."""
    request = request_of(out=out, **asked)
    console = Console(stderr=as_json)
    try:
        refuse_to_overwrite(out, force)
        manifest = _quantize(request, console)
    except (EmpirError, OSError) as error:
        raise click.ClickException(described(error)) from error
    except KeyboardInterrupt:
        console.print("\nInterrupted: nothing was written.")
        sys.exit(130)
    if as_json:
        click.echo(manifest.model_dump_json())


def _quantize(request: Request, console: Console) -> Manifest:
    start = time.monotonic()
    with console.status(f"Reading {request.model}"):
        classifier = read_classifier(request.model, request.preprocessing)
        if any(not precision.is_float for precision in request.members.values()):
            gridded(OnnxGraph(classifier.model))  # an operator without a rule ends it here
    labels = _labels(request.labels, classifier.classes)
    spec = _input(classifier, request)
    photos, others = calibration_photos(
        request.calibration,
        labels,
        spec,
        request.calibration_images,
        request.figure_images,
        skip_unreadable=request.skip_unreadable,
    )
    console.print(assumptions(classifier, spec, request.labels, photos, others), soft_wrap=True, highlight=False)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        pixels = photos.pixels()
        members = [_member(request, classifier, name, pixels, bar) for name in request.members]
        task = bar.add_task("measuring", total=len(others))
        source = _source(request, photos, round(time.monotonic() - start, 1))
        manifest, figures = write_quantized_bundle(
            request.out,
            classifier,
            members,
            labels,
            spec,
            others,
            source,
            lambda done: bar.update(task, completed=done),
        )
    if unreadable := photos.unreadable | others.unreadable:
        console.print(left_out(unreadable), soft_wrap=True, highlight=False, markup=False)
    console.print(summary(manifest, members, figures, str(request.out)))
    console.print(f"Serve it:  empir serve --bundles {request.out.parent} --default {request.out.name}")
    return manifest


def _member(
    request: Request, classifier: Classifier, name: str, pixels: NDArray[np.float32], bar: Progress
) -> MemberGraph:
    task = bar.add_task(name, total=None)
    member = quantized_member(
        classifier,
        name,
        request.members[name],
        pixels,
        request.method,
        lambda done, total: bar.update(task, completed=done, total=total),
    )
    if request.members[name].is_float:
        bar.update(task, completed=1, total=1)
    return member


def _labels(wanted: str | None, classes: int) -> Labels:
    if wanted is None:
        return Labels.numbered(classes)
    labels = Labels.imagenet() if wanted == "imagenet" else Labels.read(Path(wanted))
    if len(labels.names) != classes:
        raise BundleError(f"--labels {wanted}: expected {classes} labels, one for each logit, got {len(labels.names)}")
    return labels


def _input(classifier: Classifier, request: Request) -> Input:
    channels, height, width = classifier.shape
    wanted = request.preprocessing
    return Input(
        channels=3 if channels == 3 else 1,
        height=height,
        width=width,
        value_range=(wanted.low, wanted.high),
        mean=wanted.mean,
        std=wanted.std,
        resize=request.resize,
    )


def _source(request: Request, photos: Photos, seconds: float) -> Source:
    return Source(
        recipe="quantize",
        command=request.command(),
        seed=SPLIT_SEED,
        data_set=f"{len(photos)} calibration pictures",
        data_md5={"SHA-256 of names and sizes": listing_sha256(photos.files)},
        skipped_images=len(photos.unreadable),
        training_seconds=seconds,
    )
