"""Fixtures for all tests. Hypothesis repeats the same examples in every run."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from robustness.victim import Victim
from runtime.bundle import load_bundle
from tests.toy_bundle import ToyBundle, write_toy_bundle

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

collect_ignore = ["service/oip/kserve_client.py"]  # a program: what it imports cannot be loaded beside Triton's client

NOT_SETTINGS = ("EMPIR_SKIP_NOTHING", "EMPIR_DATA_DIR")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """Settings that the developer's shell has are not the tests'."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("EMPIR_") and name not in NOT_SETTINGS]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyBundle:
    """A toy bundle on disk; not to be changed."""
    return write_toy_bundle(tmp_path_factory.mktemp("bundles") / "toy")


@pytest.fixture
def toy_copy(toy: ToyBundle, tmp_path: Path) -> Path:
    """The folder of a copy of the toy bundle, to be spoilt."""
    return shutil.copytree(toy.folder, tmp_path / "toy")


@pytest.fixture
def victim(toy: ToyBundle) -> Iterator[Victim]:
    """The toy bundle under attack."""
    victim = Victim.of_bundle(load_bundle(toy.folder, gradients=True))
    yield victim
    victim.close()
