"""What an ensemble costs over its full-precision member alone: bytes stored, bit operations, CPU time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from runtime.ensemble import Ensemble
from runtime.errors import BundleError
from runtime.manifest import LayerTime, Manifest, Member
from runtime.prediction import Mode

Images = NDArray[np.float32]

CLAIM = "Sen et al. claim less than 25% more compute and storage than a single full-precision model"
MODES: tuple[Mode, ...] = ("full", "quorum")
AT_EXPORT = "noise, at export"
UNDER_ATTACK, TURNED = "under attack", "turned by an attack"
"""Images as an attack leaves them, whether it turned the verdict or not; or only those of which it did."""


class MemberCost(BaseModel):
    """What one member stores and computes."""

    name: str
    precision: str
    file_bytes: int
    macs: int
    bit_operations: int | None
    """Multiply-accumulates, each times the bits of its weight and of its activation."""


class WayCost(BaseModel):
    """What one way of answering costs, on one kind of images.

    CPU time is for an image, one at a time, all threads, in microseconds: median of the rounds, and their range.
    """

    images: str
    what: str
    stored_bytes: int | None = None
    bit_operations: int | None = Field(None, description="For an image, of the members that were asked; their mean.")
    n: int
    rounds: int
    median_us: float
    lowest_us: float
    highest_us: float
    over_fp32: float
    """Median over the rounds of its time over that of the full-precision member in the same round."""


class OverheadReport(BaseModel):
    """An ensemble's cost beside the paper's claim."""

    claim: str = CLAIM
    members: list[MemberCost]
    stored_over_fp32: float | None
    """Bytes of all members over those of the full-precision one, less 1; null where the manifest does not say them."""
    bit_operations_over_fp32: float | None
    int8: str | None = Field(None, description="What `int8 alone` is; null where there is no such row.")
    cpu: list[WayCost]
    attack: str | None = Field(None, description="What the images under attack were made by.")
    layers: list[LayerTime] = Field([], description="What export measured of other exact ways to write a layer.")
    layers_hardware: str | None = None


def overhead(manifest: Manifest, ensemble: Ensemble, sets: dict[str, Images], rounds: int = 5) -> OverheadReport:
    """The cost of a bundle's ensemble; `sets`: images [N, C, H, W] by what they are, `clean` or `attacked`, say.

    Raises BundleError if no member has full precision: there is nothing to compare with.
    """
    alone = _full_precision(manifest)
    members = [
        MemberCost(
            name=member.name,
            precision=str(member.precision),
            file_bytes=member.packed_bytes,
            macs=member.macs,
            bit_operations=member.bit_operations,
        )
        for member in manifest.members
    ]
    operations = [member.bit_operations for member in members]
    known = [each for each in operations if each is not None]
    own, ways, measured = alone.bit_operations, _ways(manifest, ensemble), manifest.measured
    copy = _copy(manifest)
    return OverheadReport(
        members=members,
        stored_over_fp32=(
            round(sum(member.file_bytes for member in members) / alone.packed_bytes - 1, 4)
            if alone.packed_bytes
            else None
        ),
        bit_operations_over_fp32=(round(sum(known) / own - 1, 4) if own and len(known) == len(operations) else None),
        int8=_int8(manifest),
        cpu=[row for name, images in sets.items() for row in _timed(ways, name, images, rounds)] + copy,
        layers=list(measured.layers) if measured else [],
        layers_hardware=measured.hardware if measured else None,
    )


@dataclass(frozen=True)
class _Way:
    """A way of answering: how, with the members of which rows, and which of these are asked, bool [M, N]."""

    run: Callable[[Images], object]
    members: list[Member]
    asked: Callable[[Images], NDArray[np.bool_]]

    def bit_operations(self, images: Images) -> int | None:
        each = [member.bit_operations for member in self.members]
        known = [bits for bits in each if bits is not None]
        if len(known) < len(each):
            return None
        return round(float((np.array(known, np.float64)[:, None] * self.asked(images)).sum(axis=0).mean()))


def _ways(manifest: Manifest, ensemble: Ensemble) -> dict[str, _Way]:
    """By name, the full-precision member first."""
    alone = {"fp32 alone": "fp32", "int8 alone": "w8a8"}
    ways = {}
    for what, precision in alone.items():
        index = next((i for i, member in enumerate(manifest.members) if str(member.precision) == precision), None)
        if index is not None:
            ways[what] = _Way(ensemble.members[index].answer, [manifest.members[index]], _everyone(1))
    everyone = _everyone(len(manifest.members))
    for mode in MODES if ensemble.vote.rule == "majority" else MODES[:1]:
        asked = everyone if mode == "full" else partial(_consulted, ensemble)
        ways[mode] = _Way(partial(ensemble.predict, mode=mode), list(manifest.members), asked)
    return ways


def _everyone(members: int) -> Callable[[Images], NDArray[np.bool_]]:
    return lambda images: np.ones((members, len(images)), np.bool_)


def _consulted(ensemble: Ensemble, images: Images) -> NDArray[np.bool_]:
    """Which members a quorum asks about each image."""
    return np.array([[each != "skipped" for each in row] for row in ensemble.predict(images, mode="quorum").status])


def _full_precision(manifest: Manifest) -> Member:
    for member in manifest.members:
        if member.precision.is_float:
            return member
    raise BundleError(f"{manifest.name}: expected a full-precision member to compare with, got none")


def _int8(manifest: Manifest) -> str | None:
    """What the row of one int8 model is about."""
    own = next((member.name for member in manifest.members if str(member.precision) == "w8a8"), None)
    if own is not None:
        return f"the member {own}"
    copy = manifest.measured.int8 if manifest.measured else None
    return None if copy is None else f"{copy.of}, quantized to 8 bits after training for this comparison alone"


def _copy(manifest: Manifest) -> list[WayCost]:
    """The row of an int8 copy that export measured, on one thread, each side by its shortest run."""
    copy = manifest.measured.int8 if manifest.measured else None
    if copy is None:
        return []
    return [
        WayCost(
            images=AT_EXPORT,
            what="int8 alone",
            stored_bytes=copy.file_bytes,
            bit_operations=copy.bit_operations,
            n=1,
            rounds=copy.rounds,
            median_us=copy.us,
            lowest_us=copy.us,
            highest_us=copy.us,
            over_fp32=copy.over_fp32,
        )
    ]


def _timed(ways: dict[str, _Way], name: str, images: Images, rounds: int) -> list[WayCost]:
    """Every way of answering in turn in every round."""
    times = np.array([[_cpu_us(way.run, images) for way in ways.values()] for _ in range(rounds)])
    ratios = np.median(times / times[:, :1], axis=0)
    return [
        WayCost(
            images=name,
            what=what,
            stored_bytes=sum(member.packed_bytes for member in way.members) or None,
            bit_operations=way.bit_operations(images),
            n=len(images),
            rounds=rounds,
            median_us=round(float(np.median(times[:, i])), 1),
            lowest_us=round(float(times[:, i].min()), 1),
            highest_us=round(float(times[:, i].max()), 1),
            over_fp32=round(float(ratios[i]), 3),
        )
        for i, (what, way) in enumerate(ways.items())
    ]


def _cpu_us(run: Callable[[Images], object], images: Images) -> float:
    start = time.process_time_ns()
    for image in images[:, None]:
        run(image)
    return (time.process_time_ns() - start) / 1000 / len(images)
