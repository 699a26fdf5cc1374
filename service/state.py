"""What handlers find in `app.state.empir`."""

from dataclasses import dataclass

from service.catalog import Catalog
from service.decoder import Decoder
from service.metrics import Metrics
from service.probe_process import ProbeProcess
from service.scheduler import Scheduler
from service.settings import Settings


@dataclass
class State:
    """The parts of a running server."""

    settings: Settings
    catalog: Catalog
    scheduler: Scheduler
    decoder: Decoder
    metrics: Metrics
    probes: ProbeProcess
    ready: bool = False
