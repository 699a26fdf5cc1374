"""A bundle on disk: read it whole, and trust nothing in it that its manifest does not vouch for."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from runtime.errors import BundleError
from runtime.expectation import expectation
from runtime.manifest import Manifest, Member

MANIFEST = "bundle.json"
DEFAULT_BUNDLE = "mnist"
"""The bundle that is meant where none is named."""
MAKE = "empir train and empir quantize make bundles"
"""What to do where there are none."""

# A tensor with external data has an entry whose key is "location". We look for the bytes because a serving machine has
# no ONNX parser: the string and its length in protobuf's wire format, which may be written overlong, but not its tag,
# of which ONNX Runtime reads more spellings than protobuf's specification allows.
EXTERNAL_DATA = re.compile(rb"(?:\x08|\x88\x80*\x00)location")


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its manifest and the bytes of its graphs, by file name."""

    folder: Path
    manifest: Manifest
    graphs: dict[str, bytes]


def bundle_folders(root: Path) -> list[Path]:
    """The folders in `root` that hold a manifest, in order; hidden ones, where bundles are being written, left out."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if not path.name.startswith(".") and (path / MANIFEST).exists())


def load_bundle(folder: Path, *, gradients: bool = False) -> Bundle:
    """Read and verify the bundle in `folder`; every file's sha256 is checked, gradient graphs are kept if asked for.

    Raises BundleError, naming file and field, when anything is missing, altered, outside the folder, or external.
    """
    manifest = read_manifest(folder)
    graphs: dict[str, bytes] = {}
    for index, member in enumerate(manifest.members):
        for file, sha256, wanted in _files_of(member, gradients):
            data = _verified(folder, file, sha256, f"members[{index}]")
            if wanted:
                graphs[file] = data
    return Bundle(folder, manifest, graphs)


def _files_of(member: Member, gradients: bool) -> list[tuple[str, str, bool]]:
    files = [(member.file, member.sha256, True)]
    if member.gradient_file is not None and member.gradient_sha256 is not None:
        files.append((member.gradient_file, member.gradient_sha256, gradients))
    return files


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`. Raises BundleError when it is missing or says something that a manifest cannot."""
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: expected a bundle's manifest, got {error}") from error
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BundleError(f"{path}: {where}: {expectation(first)}") from error
    if manifest.name != folder.resolve().name:
        raise BundleError(
            f"{path}: name is {manifest.name!r}, but the folder is {folder.resolve().name!r}; they must be the same"
        )
    return manifest


def _verified(folder: Path, file: str, sha256: str, where: str) -> bytes:
    path = folder / file
    if path.is_symlink():
        raise BundleError(f"{path}: expected a plain file inside the bundle, got a link to {path.readlink()}")
    if path.exists() and not path.is_file():
        raise BundleError(f"{path}: expected a plain file, got a folder, a pipe or a device")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise BundleError(f"{path}: corrupt or altered: {MANIFEST} {where} says sha256 {sha256}, the file's is {found}")
    if EXTERNAL_DATA.search(data):
        raise BundleError(f"{path}: refers to external data; a bundle's graphs must hold their own weights")
    return data
