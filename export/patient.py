"""A bundle's ensemble for measuring: slow machines must not make it look wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

from runtime.bundle import Bundle
from runtime.ensemble import Ensemble

HOUR_MS = 3_600_000


@contextmanager
def patient_ensemble(bundle: Bundle) -> Iterator[Ensemble]:
    """The bundle's ensemble, whose members may take an hour; closed in the end."""
    ensemble = Ensemble.of_bundle(bundle, member_deadline_ms=HOUR_MS)
    try:
        yield ensemble
    finally:
        ensemble.close()
