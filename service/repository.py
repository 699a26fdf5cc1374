"""The repository: the one place that changes, while the server runs, which bundles are served."""

import asyncio
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from runtime.bundle import bundle_folders
from runtime.errors import BundleError
from runtime.manifest import NAME
from service.catalog import Catalog, Served, load_served
from service.errors import BundleRefused, Conflict, UnknownModel
from service.metrics import Metrics
from service.settings import Settings


@dataclass(frozen=True)
class Entry:
    """A bundle of the repository, served or not; `reason` says why not, or why a newer one is not."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class Repository:
    """Loads and unloads bundles of the folder `settings.bundles`, one at a time. Lives on one event loop."""

    def __init__(self, settings: Settings, catalog: Catalog, metrics: Metrics) -> None:
        self._settings, self._catalog, self._metrics = settings, catalog, metrics
        self._turn = asyncio.Lock()
        self._generations = {served.manifest.name: served.generation for served in catalog}
        self._reasons = {name: self._inside(reason) for name, reason in catalog.damaged.items()}

    def index(self) -> list[Entry]:
        """Every bundle that is served, and every one that is in the folder and could be."""
        served = [
            Entry(each.manifest.name, str(each.generation), "READY", self._reasons.get(each.manifest.name, ""))
            for each in self._catalog
        ]
        folders = [folder.name for folder in bundle_folders(self._settings.bundles)]
        waiting = [name for name in folders if name not in self._catalog]
        return served + [Entry(name, "", "UNAVAILABLE", self._reasons.get(name, "not loaded")) for name in waiting]

    async def load(self, name: str) -> Served:
        """Verify, load and warm up the bundle `name`, off the event loop, and serve it from then on.

        Requests under way finish on the one that it replaces, which ends with the last of them. Raises UnknownModel
        where the folder has no such bundle, BundleRefused if something is wrong with it; the old one is then served on.
        """
        async with self._turn:
            try:
                loaded = await self.prepare(name)
            except BundleRefused:
                self._metrics.bundle_reloads.labels("failed").inc()
                raise
            self._metrics.bundle_reloads.labels("loaded").inc()
            return self.put(loaded, self.next_generation(loaded))

    async def unload(self, name: str) -> None:
        """Serve the bundle `name` no longer. Raises UnknownModel if it is not served, Conflict for the default one."""
        async with self._turn:
            self.check_unload(name)
            self.drop(name)
            self._metrics.bundle_reloads.labels("unloaded").inc()

    async def prepare(self, name: str) -> Served:
        """The bundle `name`, verified, loaded and warm, and not served yet. Raises as `load` does."""
        folder = self._folder(name)
        try:
            return await asyncio.to_thread(load_served, folder, self._settings)
        except BundleError as error:
            self._reasons[name] = self._inside(str(error))
            raise BundleRefused(self._reasons[name]) from error

    def next_generation(self, loaded: Served) -> int:
        """The number of a bundle that is about to be served: one more, unless it is the one that is served already."""
        name, generation = loaded.manifest.name, self._generations.get(loaded.manifest.name, 0)
        served = name in self._catalog and self._catalog.get(name).manifest == loaded.manifest
        return generation if served else generation + 1

    def put(self, loaded: Served, generation: int) -> Served:
        """Serve a prepared bundle, in one step, instead of the one of its name if there is one."""
        name = loaded.manifest.name
        loaded = replace(loaded, generation=generation)
        self._generations[name] = generation
        if name in self._catalog:
            self._metrics.retire(self._catalog.get(name).manifest)
        self._catalog.put(loaded)
        self._metrics.announce(loaded.manifest)
        self._reasons.pop(name, None)
        return loaded

    def check_unload(self, name: str) -> None:
        """Raise UnknownModel if a bundle is not served, Conflict if it is the default one."""
        if name not in self._catalog:
            raise UnknownModel(f"model: expected a bundle that is loaded, got {name!r}")
        if name == self._catalog.default:
            raise Conflict(f"model: {name!r} is the default bundle, which requests that name none rely on")

    def drop(self, name: str) -> None:
        """Serve a bundle no longer."""
        self._metrics.retire(self._catalog.get(name).manifest)
        self._catalog.remove(name)
        self._reasons[name] = "unloaded"

    def _inside(self, reason: str) -> str:
        """Everybody may read the index; where the bundles are on this machine is nobody's business."""
        return reason.replace(f"{self._settings.bundles}/", "")

    def _folder(self, name: str) -> Path:
        folder = self._settings.bundles / name
        # The name comes from a client: checked before it becomes a path.
        if not re.fullmatch(NAME, name) or folder not in bundle_folders(self._settings.bundles):
            hint = "; members come with their bundle" if ":" in name else ""
            raise UnknownModel(f"model: expected a bundle in the server's folder, got {name!r}{hint}")
        return folder
