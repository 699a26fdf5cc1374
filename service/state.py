"""What handlers find in `app.state.empir`."""

from dataclasses import dataclass, field

from service.catalog import Catalog
from service.decoder import Decoder
from service.metrics import Metrics
from service.oip.statistics import Statistics
from service.probe_process import ProbeProcess
from service.repository import Repository
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
    statistics: Statistics = field(default_factory=Statistics)
    repository: Repository = field(init=False)

    def __post_init__(self) -> None:
        self.repository = Repository(self.settings, self.catalog, self.metrics)
