"""What an ensemble costs over its full-precision member alone: bytes stored, bit operations, CPU time."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from runtime.ensemble import Ensemble
from runtime.errors import BundleError
from runtime.manifest import Manifest, Member
from runtime.prediction import Mode

Images = NDArray[np.float32]

CLAIM = "Sen et al. claim less than 25% more compute and storage than a single full-precision model"
MODES: tuple[Mode, ...] = ("full", "quorum")


class MemberCost(BaseModel):
    """What one member stores and computes."""

    name: str
    precision: str
    file_bytes: int
    macs: int
    bit_operations: int | None
    """Multiply-accumulates, each times the bits of its weight and of its activation."""


class CpuTime(BaseModel):
    """CPU time for an image, one at a time, all threads, in microseconds: median of the rounds, and their range."""

    images: str
    what: str
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
    cpu: list[CpuTime]


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
    own = alone.bit_operations
    return OverheadReport(
        members=members,
        stored_over_fp32=(
            round(sum(member.file_bytes for member in members) / alone.packed_bytes - 1, 4)
            if alone.packed_bytes
            else None
        ),
        bit_operations_over_fp32=(round(sum(known) / own - 1, 4) if own and len(known) == len(operations) else None),
        cpu=[row for name, images in sets.items() for row in _timed(ensemble, name, images, rounds)],
    )


def _full_precision(manifest: Manifest) -> Member:
    for member in manifest.members:
        if member.precision.is_float:
            return member
    raise BundleError(f"{manifest.name}: expected a full-precision member to compare with, got none")


def _timed(ensemble: Ensemble, name: str, images: Images, rounds: int) -> list[CpuTime]:
    """Every way of answering in turn in every round, the full-precision member first."""
    floats = [member for member in ensemble.members if member.precision.is_float]
    int8 = [member for member in ensemble.members if str(member.precision) == "w8a8"]
    ways: dict[str, Callable[[Images], object]] = {"fp32 alone": floats[0].answer}
    if int8:
        ways["int8 alone"] = int8[0].answer
    modes = MODES if ensemble.vote.rule == "majority" else MODES[:1]
    ways |= {mode: partial(ensemble.predict, mode=mode) for mode in modes}
    times = np.array([[_cpu_us(run, images) for run in ways.values()] for _ in range(rounds)])
    ratios = np.median(times / times[:, :1], axis=0)
    return [
        CpuTime(
            images=name,
            what=what,
            n=len(images),
            rounds=rounds,
            median_us=round(float(np.median(times[:, i])), 1),
            lowest_us=round(float(times[:, i].min()), 1),
            highest_us=round(float(times[:, i].max()), 1),
            over_fp32=round(float(ratios[i]), 3),
        )
        for i, what in enumerate(ways)
    ]


def _cpu_us(run: Callable[[Images], object], images: Images) -> float:
    start = time.process_time_ns()
    for image in images[:, None]:
        run(image)
    return (time.process_time_ns() - start) / 1000 / len(images)
