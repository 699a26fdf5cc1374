"""Models of the Open Inference Protocol: each bundle is one, and each of its members."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.answer import why_none
from runtime.errors import NoQuorum
from runtime.manifest import Manifest
from runtime.prediction import Prediction
from runtime.vote import NO_VOTE
from service.catalog import Catalog, Served
from service.errors import UnknownModel
from service.oip.tensors import Output

Data = Callable[[Manifest, Prediction, range], NDArray[Any] | list[bytes]]


@dataclass(frozen=True, slots=True)
class Kind:
    """An output of a model: its datatype, its shape behind the batch for M members and K classes, and its content."""

    datatype: str
    dims: Callable[[int, int], list[int]]
    data: Data
    """Of some images of a prediction, which may be a batch of several requests."""


@dataclass(frozen=True, slots=True)
class Model:
    """A bundle, or one of its members alone, whose bundle is then of that one member."""

    name: str
    served: Served
    member: int | None = None
    """Its place in the bundle; None for the bundle itself."""

    @property
    def version(self) -> str:
        return str(self.served.generation)

    @property
    def bundle(self) -> str:
        return self.served.manifest.name

    @property
    def outputs(self) -> dict[str, Kind]:
        """Everything it can answer, in order."""
        return BUNDLE if self.member is None else MEMBER

    def dims(self, output: str) -> list[int]:
        """The shape of an output behind the batch axis."""
        manifest = self.served.manifest
        return self.outputs[output].dims(len(manifest.members), len(manifest.labels))

    def output(self, name: str, prediction: Prediction, images: range) -> Output:
        """An output for these images of a prediction, each of which has a verdict."""
        kind = self.outputs[name]
        shape = (len(images), *self.dims(name))
        return Output(name, kind.datatype, shape, kind.data(self.served.manifest, prediction, images))

    def check_quorum(self, prediction: Prediction, images: range) -> None:
        """Raise NoQuorum, naming the image, where one has no verdict: there is no label to give, not even a guess."""
        if prediction.complete:
            return
        for place, image in enumerate(images):
            if prediction.verdict[image] == NO_VOTE:
                if self.member is None:
                    raise NoQuorum(f"image {place}: {why_none(self.served.manifest, prediction, image)}")
                raise NoQuorum(f"image {place}: the member {self.name} has no vote: {prediction.status[0][image]}")


def find_model(catalog: Catalog, name: str, version: str | None = None) -> Model:
    """The model `BUNDLE` or `BUNDLE:MEMBER`; a version of None or "" is the one that is served.

    Raises UnknownModel, naming those there are.
    """
    bundle, colon, member = name.partition(":")
    if bundle not in catalog:
        there = " or ".join(served.manifest.name for served in catalog)
        raise UnknownModel(f"model: expected {there}, or one of its members, got {name[:130]!r}")
    served = catalog.get(bundle)
    if version and version != str(served.generation):
        raise UnknownModel(f"version: of model {bundle} {served.generation} is served, got {version[:64]!r}")
    if not colon:
        return Model(name, served)
    names = list(served.members)
    if member not in names:
        raise UnknownModel(f"model: expected {bundle}:MEMBER with one of {', '.join(names)}, got {name[:130]!r}")
    return Model(name, served.members[member], names.index(member))


def all_models(catalog: Catalog) -> list[Model]:
    """Every bundle, followed by its members."""
    names = [(served.manifest.name, served.members) for served in catalog]
    return [find_model(catalog, name) for bundle, members in names for name in (bundle, *_of(bundle, members))]


def _of(bundle: str, members: dict[str, Served]) -> list[str]:
    return [f"{bundle}:{member}" for member in members]


def _labels(manifest: Manifest, prediction: Prediction, images: range) -> list[bytes]:
    return [manifest.labels[verdict].encode() for verdict in prediction.verdict[_slice(images)].tolist()]


def _each(share: Callable[[Prediction, int], float]) -> Data:
    def data(_: Manifest, prediction: Prediction, images: range) -> NDArray[Any]:
        return np.array([share(prediction, image) for image in images], np.float32)

    return data


def _statuses(_: Manifest, prediction: Prediction, images: range) -> list[bytes]:
    return [member[image].encode() for image in images for member in prediction.status]


def _slice(images: range) -> slice:
    return slice(images.start, images.stop)


_COMMON = {
    "label": Kind("BYTES", lambda m, k: [1], _labels),
    "class_index": Kind("INT64", lambda m, k: [1], lambda _, prediction, images: prediction.verdict[_slice(images)]),
    "confidence": Kind("FP32", lambda m, k: [1], _each(Prediction.confidence)),
}
BUNDLE = {
    **_COMMON,
    "agreement": Kind("FP32", lambda m, k: [1], _each(Prediction.agreement)),
    "member_probs": Kind(
        "FP32", lambda m, k: [m, k], lambda _, p, images: p.probs[:, _slice(images)].transpose(1, 0, 2)
    ),
    "member_status": Kind("BYTES", lambda m, k: [m], _statuses),
}
MEMBER = {**_COMMON, "probs": Kind("FP32", lambda m, k: [k], lambda _, p, images: p.probs[0, _slice(images)])}
