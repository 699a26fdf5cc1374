"""A server of the Open Inference Protocol, over REST and gRPC, and its clients."""

from collections.abc import Iterator
from typing import Any

import pytest
import tritonclient.grpc
import tritonclient.http

from service.settings import Settings
from tests.live import Live, live
from tests.toy_bundle import ToyBundle
from tests.toy_catalog import bundle_catalog


@pytest.fixture(scope="session")
def both(toy: ToyBundle) -> Iterator[Live]:
    """The toy bundle, served over REST and gRPC. Tests share it, so they count differences."""
    settings = Settings(bundles=toy.folder.parent, default="toy", grpc_port=0, max_batch=32)
    with live(settings, bundle_catalog(toy.folder)) as running:
        yield running


@pytest.fixture
def rest(both: Live) -> Iterator[Any]:
    """Triton's REST client."""
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{both.port}") as client:
        yield client


@pytest.fixture
def grpc(both: Live) -> Iterator[Any]:
    """Triton's gRPC client."""
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{both.app.state.grpc_port}") as client:
        yield client
