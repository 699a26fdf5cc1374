"""What handlers find in `app.state.empir`."""

from dataclasses import dataclass

from service.catalog import Catalog
from service.decoder import Decoder
from service.ledger import Ledger
from service.metrics import Metrics
from service.oip.statistics import Statistics
from service.probe_process import ProbeProcess
from service.repository import Repository
from service.scheduler import Scheduler
from service.settings import Settings
from service.tracer import Tracer
from service.worker import RemoteProbes, Worker


@dataclass
class State:
    """The parts of a running server."""

    settings: Settings
    catalog: Catalog
    scheduler: Scheduler
    decoder: Decoder
    metrics: Metrics
    probes: ProbeProcess | RemoteProbes
    repository: Repository
    statistics: Statistics
    ledger: Ledger
    worker: Worker | None = None
    """This process among several; None where it is the only one."""
    tracer: Tracer | None = None
    ready: bool = False

    async def total_statistics(self) -> Statistics:
        """What this server has done, all its workers together."""
        self.ledger.flush()
        return self.statistics if self.worker is None else await self.worker.total_statistics()
