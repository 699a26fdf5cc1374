"""The bundles that are served."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runtime.bundle import MAKE, MANIFEST, bundle_folders, load_bundle
from runtime.detection import Detector
from runtime.ensemble import Ensemble
from runtime.errors import BundleError, UnknownBundle
from runtime.manifest import Manifest, Member, Vote
from runtime.member import Images
from runtime.prediction import Mode, Prediction
from service.bundle_report import BundleReport
from service.settings import Settings


@dataclass(frozen=True)
class Judged:
    """What an ensemble says of a batch, and which of its images are suspicious: None where nothing can tell."""

    prediction: Prediction
    suspicious: list[bool | None]


@dataclass(frozen=True, eq=False)
class Served:
    """A bundle at work. Whoever predicts with it holds it; it ends with the last who does."""

    manifest: Manifest
    folder: Path
    ensemble: Ensemble
    report: BundleReport | None = None
    generation: int = 1
    """Counts, from 1, the versions of this bundle that the server has loaded."""

    @cached_property
    def members(self) -> dict[str, "Served"]:
        """Each member, by name, as a bundle of its own: the sessions are the same."""
        return {entry.name: self._alone(index, entry) for index, entry in enumerate(self.manifest.members)}

    def _alone(self, index: int, entry: Member) -> "Served":
        vote = Vote(rule="majority", tie_breaker=entry.name)
        manifest = self.manifest.model_copy(update={"members": (entry,), "vote": vote, "detection": None})
        return Served(manifest, self.folder, self.ensemble.alone(index), None, self.generation)

    @cached_property
    def detector(self) -> Detector | None:
        """What makes an image suspicious; None where the bundle has no threshold."""
        return Detector.of(self.manifest)

    def predict(self, images: Images, mode: Mode, idle_cores: int | None = None) -> Judged:
        """The ensemble's prediction for images float32 [N, C, H, W], raising as it does, and the detector's."""
        prediction = self.ensemble.predict(images, mode, idle_cores=idle_cores)
        return Judged(prediction, [None] * len(images) if self.detector is None else self.detector(prediction))


class Catalog:
    """Served bundles by name, one of them the default."""

    def __init__(self, served: Iterable[Served], default: str, damaged: Mapping[str, str] | None = None) -> None:
        """Raises BundleError if the default is not among them; `damaged` says what is wrong with those left out."""
        self._by_name = {each.manifest.name: each for each in served}
        if default not in self._by_name:
            there = ", ".join(self._by_name) or "none"
            raise BundleError(f"default bundle: expected one that is served ({there}), got {default!r}")
        self.default = default
        self.damaged = dict(damaged or {})

    @classmethod
    def load(cls, settings: Settings) -> "Catalog":
        """Verify and load every bundle in `settings.bundles`; one that is wrong is left out, and is in `damaged`.

        Raises BundleError if that is the default one: requests that name none rely on it.
        """
        root = settings.bundles
        if not root.is_dir():
            raise BundleError(f"{root}: expected a folder of bundles (--bundles, EMPIR_BUNDLES), there is none; {MAKE}")
        folders = bundle_folders(root)
        if not folders:
            raise BundleError(f"{root}: expected bundles, folders with a {MANIFEST}; there is none in it; {MAKE}")
        served, damaged = [], {}
        for folder in folders:
            try:
                served.append(load_served(folder, settings))
            except BundleError as error:
                if folder.name == settings.default:
                    raise
                damaged[folder.name] = str(error)
        return cls(served, settings.default, damaged)

    def get(self, name: str | None) -> Served:
        """The bundle of this name, or the default for None. Raises UnknownBundle, naming those that are served."""
        served = self._by_name.get(self.default if name is None else name)
        if served is None:
            raise UnknownBundle(f"bundle: expected {' or '.join(self._by_name)}, got {name!r}")
        return served

    def put(self, served: Served) -> None:
        """Serve this bundle, instead of the one of its name if there is one, from the next request on."""
        self._by_name = {**self._by_name, served.manifest.name: served}

    def remove(self, name: str) -> None:
        """Serve the bundle of this name no longer."""
        self._by_name = {other: served for other, served in self._by_name.items() if other != name}

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Served]:
        return iter(self._by_name.values())

    def close(self) -> None:
        for served in self._by_name.values():
            served.ensemble.close()


def load_served(folder: Path, settings: Settings) -> Served:
    """Verify, load and warm up the bundle in `folder`. Raises BundleError if anything is wrong with it."""
    bundle = load_bundle(folder)
    report = BundleReport.load(folder, bundle.manifest)
    ensemble = Ensemble.of_bundle(
        bundle,
        member_deadline_ms=settings.member_deadline_ms,
        concurrency=settings.concurrency,
        cores=settings.cores,
        engine=settings.engine,
    )
    return Served(bundle.manifest, folder, ensemble, report)
