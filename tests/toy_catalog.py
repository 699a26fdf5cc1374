"""Catalogs for a server under test: of a bundle on disk, and of toy members that are told what to say."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort

from runtime.ensemble import Ensemble
from runtime.images import encode_png
from runtime.manifest import Vote
from runtime.member import Answer, Images, Network
from service.catalog import Catalog, Served
from service.settings import Settings
from tests.live import HANG_S
from tests.toys import FP32, W2A4, Array, ToyMember, toy_entry, toy_manifest

LABELS = ("no", "yes")
NO: Array = np.array([[3, 0]], np.float32)
YES: Array = np.array([[0, 3]], np.float32)
DOT = encode_png(np.zeros((1, 1, 1), np.float32))
"""A picture of one black pixel: image number 0 of a ToyMember."""


@dataclass
class Gate(ToyMember):
    """A ToyMember that says when it is asked, and answers once it is opened."""

    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def answer(self, images: Images, options: ort.RunOptions | None = None) -> Answer:
        self.entered.set()
        self.opened.wait(HANG_S)
        return super().answer(images, options)


def low(logits: Array, name: str = "a", **fields: object) -> ToyMember:
    """A low-precision member that always gives `logits` [1, 2]."""
    return ToyMember(name, W2A4, logits, **fields)  # type: ignore[arg-type]


def full(logits: Array, name: str = "c", **fields: object) -> ToyMember:
    """A full-precision member that always gives `logits` [1, 2]."""
    return ToyMember(name, FP32, logits, **fields)  # type: ignore[arg-type]


def toy_catalog(*members: Network, rule: Literal["majority", "average"] = "majority") -> Catalog:
    """A catalog of the bundle `toy`, without files: 1 x 1 images, two labels, ties broken by the last member."""
    entries = [toy_entry(member.name, member.precision) for member in members]
    manifest = toy_manifest(entries, members[-1].name, (1, 1, 1), LABELS)
    manifest = manifest.model_copy(update={"vote": Vote(rule=rule, tie_breaker=members[-1].name)})
    ensemble = Ensemble(members, manifest.vote, len(LABELS), concurrency="requests")
    return Catalog([Served(manifest, Path("nowhere"), ensemble)], manifest.name)


def bundle_catalog(folder: Path) -> Catalog:
    """A catalog of the bundle in `folder` and its neighbours; this one is the default."""
    return Catalog.load(Settings(bundles=folder.parent, default=folder.name))
