"""The application's life: ready first, then the probe process; and nothing left behind."""

import asyncio

from service.app import create_app
from service.settings import Settings
from service.state import State
from tests.live import HANG_S
from tests.probe_jobs import exists
from tests.toy_bundle import ToyBundle
from tests.toy_catalog import bundle_catalog


def test_the_probe_process_starts_after_the_server_is_ready_and_ends_with_it(toy: ToyBundle) -> None:
    async def main() -> None:
        catalog = bundle_catalog(toy.folder)
        app = create_app(Settings(default="toy"), catalog)
        async with app.router.lifespan_context(app):
            state: State = app.state.empir
            assert state.ready
            assert state.probes.pid is None  # ready, and nothing has been started
            while (pid := state.probes.pid) is None:
                await asyncio.sleep(0)
            assert exists(pid)
            await state.probes.start()  # returns when it answers
            assert state.probes.pid == pid
        assert not state.ready
        assert not exists(pid)

    asyncio.run(asyncio.wait_for(main(), HANG_S))


def test_two_applications_do_not_share_their_metrics(toy: ToyBundle) -> None:
    for _ in range(2):  # the second would find its metrics taken
        catalog = bundle_catalog(toy.folder)
        create_app(Settings(default="toy"), catalog)
        catalog.close()
