"""A bundle's folder: appears whole, by a rename, or not at all; with its manifest and where it comes from."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NotRequired, TypedDict, Unpack

from pydantic import TypeAdapter, ValidationError

from runtime.bundle import MANIFEST
from runtime.errors import BundleError
from runtime.manifest import NAME, Input, Manifest, Member, Name, Provenance, Vote
from runtime.origin import git_commit, hardware, packages

PACKAGES = ("torch", "onnx", "onnxruntime", "numpy")


class Source(TypedDict):
    """What only the maker of a bundle knows of its provenance."""

    recipe: str
    command: str
    seed: int
    data_set: str
    data_md5: dict[str, str]
    skipped_images: NotRequired[int]
    training_seconds: float


@contextmanager
def new_bundle_folder(out: Path) -> Iterator[Path]:
    """A folder to write a bundle in, beside `out` and of its name; it becomes `out` at the end, if nothing was raised.

    A bundle at `out` is replaced then.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        yield folder
        _swap(folder, out, Path(scratch))


def refuse_to_overwrite(out: Path, force: bool) -> None:
    """Raise BundleError if `out` exists and is not a bundle that may be replaced, has a name that none can have, or
    lies where nothing can be written."""
    try:
        TypeAdapter(Name).validate_python(out.name)
    except ValidationError as error:
        raise BundleError(f"{out}: expected a folder whose name a bundle may have, {NAME}, got {out.name!r}") from error
    for folder in out.parents:
        if folder.exists() and not folder.is_dir():
            raise BundleError(f"{out}: {folder} is a file; choose another --out")
    refuse_unwritable(out.parent)
    if not out.exists():
        return
    if not (out / MANIFEST).exists():
        raise BundleError(f"{out}: exists and is not a bundle; choose another --out")
    if not force:
        raise BundleError(f"{out}: a bundle is there already; choose another --out, or --force to replace it")


def refuse_unwritable(folder: Path) -> None:
    """Raise BundleError if nothing can be written to `folder`, or, where it is not there, to make it in."""
    place = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise BundleError(f"{folder}: cannot be written, {place}: {error.strerror}; choose another --out") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def content_version(members: Iterable[Member], vote: Vote, labels: Sequence[str], spec: Input) -> str:
    """A version that changes when an answer can: with members, vote, labels, or how pictures are brought to size."""
    content = "".join(f"{m.sha256}{m.gradient_sha256}{m.temperature}" for m in members) + vote.model_dump_json()
    content += json.dumps(labels) + spec.model_dump_json()
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def provenance(**source: Unpack[Source]) -> Provenance:
    """Where a bundle comes from, of this code, with these packages, on this machine, now."""
    return Provenance(
        **source,
        git_commit=git_commit(),
        packages=packages(PACKAGES),
        hardware=hardware(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def portable(path: Path | str) -> str:
    """A path for the command in a manifest: as it was given, from the working folder on, or its last name alone; where
    files lie on this machine is nobody else's business.

    >>> [portable(path) for path in ("photos/train", "/home/me/photos", "../photos", ".")]
    ['photos/train', 'photos', 'photos', '.']
    """
    path, here = Path(path), Path.cwd()
    if path.is_absolute() and path != here and path.is_relative_to(here):
        path = path.relative_to(here)
    if path.is_absolute() or ".." in path.parts or path.parts[:1] == ("~",):
        return path.resolve().name
    return str(path)


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
