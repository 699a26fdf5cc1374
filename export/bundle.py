"""Write a bundle: graphs, manifest, parity gate, final accuracy; all of it or nothing."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
from pydantic import TypeAdapter, ValidationError

from export.data import DataSet, Examples
from export.gradient_graph import gradient_graph
from export.graph import OPSET
from export.integer_graph import member_graph, multiply_accumulates
from export.parity import Parity, all_parities
from export.recipes import Recipe
from export.train import Trained, fit_temperature, logits_of
from models.precision import Precision
from runtime.bundle import MANIFEST, Bundle, load_bundle
from runtime.ensemble import Ensemble
from runtime.errors import BundleError
from runtime.gradients import load_gradients
from runtime.manifest import NAME, Manifest, Member, Name, Provenance
from runtime.manifest import Precision as ManifestPrecision

PACKAGES = ("torch", "onnx", "onnxruntime", "numpy")
HOUR_MS = 3_600_000
"""The members' deadline here: a slow machine must not make them look wrong."""


def write_bundle(
    recipe: Recipe, trained: Sequence[Trained], data: DataSet, out: Path, command: str
) -> tuple[Manifest, list[Parity]]:
    """Export, check and write the ensemble to the folder `out`, whose name becomes the bundle's.

    A bundle there is replaced; the folder appears whole, by a rename, or not at all. Raises ParityError if a graph
    disagrees with its network.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        members = tuple(_write_member(member, data, folder) for member in trained)
        manifest = _manifest(recipe, members, trained, data, out.name, command)
        _write_manifest(folder, manifest)
        bundle = load_bundle(folder, gradients=True)
        ensemble = Ensemble.of_bundle(bundle, member_deadline_ms=HOUR_MS)
        parities = all_parities([t.network for t in trained], ensemble.members, load_gradients(bundle), data.test)
        manifest = _with_accuracies(bundle, ensemble, data.test)
        ensemble.close()
        _write_manifest(folder, manifest)
        _swap(folder, out, Path(scratch))
    return manifest, parities


def refuse_to_overwrite(out: Path, force: bool) -> None:
    """Raise BundleError if `out` exists and is not a bundle that may be replaced, or has a name that none can have."""
    try:
        TypeAdapter(Name).validate_python(out.name)
    except ValidationError as error:
        raise BundleError(f"{out}: expected a folder whose name a bundle may have, {NAME}, got {out.name!r}") from error
    for folder in out.parents:
        if folder.exists() and not folder.is_dir():
            raise BundleError(f"{out}: {folder} is a file; choose another --out")
    if not out.exists():
        return
    if not (out / MANIFEST).exists():
        raise BundleError(f"{out}: exists and is not a bundle; choose another --out")
    if not force:
        raise BundleError(f"{out}: a bundle is there already; choose another --out, or --force to replace it")


def _write_member(trained: Trained, data: DataSet, folder: Path) -> Member:
    name, shape = trained.recipe.name, data.image_shape
    precision = Precision.parse(trained.recipe.precision)
    sums = {}
    for suffix, model in (
        ("onnx", member_graph(trained.network, shape, name)),
        ("gradient.onnx", gradient_graph(trained.network, shape, len(data.labels), f"{name}-gradient")),
    ):
        onnx.save(model, folder / f"{name}.{suffix}")
        sums[suffix] = hashlib.sha256((folder / f"{name}.{suffix}").read_bytes()).hexdigest()
    return Member(
        name=name,
        precision=ManifestPrecision(weights=precision.weights, activations=precision.activations),
        file=f"{name}.onnx",
        sha256=sums["onnx"],
        gradient_file=f"{name}.gradient.onnx",
        gradient_sha256=sums["gradient.onnx"],
        opset=OPSET,
        parameters=sum(
            tensor.numel() for key, tensor in trained.network.state_dict().items() if key.endswith("weight")
        ),
        packed_bytes=(folder / f"{name}.onnx").stat().st_size,
        macs=multiply_accumulates(trained.network, shape),
        temperature=fit_temperature(
            logits_of(trained.network, data.validation), torch.from_numpy(data.validation.classes)
        ),
    )


def _manifest(
    recipe: Recipe, members: tuple[Member, ...], trained: Sequence[Trained], data: DataSet, name: str, command: str
) -> Manifest:
    content = hashlib.sha256("".join(f"{m.sha256}{m.gradient_sha256}{m.temperature}" for m in members).encode())
    provenance = Provenance(
        recipe=recipe.name,
        command=command,
        git_commit=_git_commit(),
        seed=trained[0].recipe.seed,
        data_set=data.name,
        data_md5=data.md5,
        packages={package: version(package) for package in PACKAGES} | {"python": platform.python_version()},
        hardware=_hardware(),
        training_seconds=round(sum(member.seconds for member in trained), 1),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Manifest(
        schema_version=1,
        name=name,
        version=content.hexdigest()[:12],
        description=recipe.description,
        labels=data.labels,
        input=recipe.input,
        members=members,
        vote=recipe.vote,
        provenance=provenance,
    )


def _with_accuracies(bundle: Bundle, ensemble: Ensemble, test: Examples) -> Manifest:
    """The manifest with clean accuracies on the test images, through the served graphs and their vote."""
    right = np.zeros((len(ensemble.members) + 1,), dtype=np.int64)
    for start in range(0, len(test), 250):
        prediction = ensemble.predict(test.pixels(start, start + 250))
        classes = test.classes[start : start + 250]
        right += np.array([*(prediction.votes == classes).sum(axis=1), (prediction.verdict == classes).sum()])
    shares = (right / len(test)).round(6).tolist()
    members = tuple(
        m.model_copy(update={"clean_accuracy": share})
        for m, share in zip(bundle.manifest.members, shares, strict=False)
    )
    return bundle.manifest.model_copy(update={"members": members, "clean_accuracy": shares[-1]})


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _swap(folder: Path, out: Path, scratch: Path) -> None:
    """Move `folder` to `out`; a bundle that is there moves away first, and back if the second rename fails."""
    old = scratch / "replaced"
    if out.exists():
        os.rename(out, old)
    try:
        os.rename(folder, out)
    except BaseException:  # Ctrl-C too: what was there must not go with the scratch folder
        if old.exists():
            os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _git_commit() -> str:
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,  # of this code, wherever it is called from
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()


def _hardware() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"
