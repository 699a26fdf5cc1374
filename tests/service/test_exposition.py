"""Metrics of several workers: whole even while a file of theirs goes."""

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.exposition import FOLDER_VARIABLE, exposition


def test_a_file_that_goes_while_metrics_are_read_costs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tries = 0

    def gone_at_first(registry: CollectorRegistry) -> bytes:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise FileNotFoundError("counter_1.db")
        return generate_latest(registry)

    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr("service.exposition.generate_latest", gone_at_first)
    assert b"empir_workers 0.0" in exposition(CollectorRegistry())
    assert tries == 2
