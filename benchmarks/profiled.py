"""`python -m benchmarks.profiled FILE BUNDLES NAME`: a server that writes to FILE what it did, once Ctrl-C ends it."""

import cProfile
import os
import sys
from contextlib import suppress
from pathlib import Path

import uvicorn

from service.app import create_app
from service.catalog import Catalog
from service.server import configure, listen, settle
from service.settings import Settings


def main(file: Path, bundles: Path, name: str) -> None:
    """Serve on a free port of loopback, which the first line names. Profiled is the event loop, not how it came up."""
    if hasattr(os, "sched_setaffinity"):  # then small ensembles run on the event loop, where they are profiled too
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    settings = Settings(bundles=bundles, default=name, port=0)
    app = create_app(settings, Catalog.load(settings))
    profile = cProfile.Profile()
    with listen(settings.host, settings.port) as listener:
        settle()
        print(f"http://{settings.host}:{listener.getsockname()[1]}", flush=True)
        with suppress(KeyboardInterrupt):
            profile.runcall(uvicorn.Server(configure(app, settings)).run, sockets=[listener])
    profile.dump_stats(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
