"""The profile of a server at work names what answers requests, and is kept where one asks for it."""

import pstats
from pathlib import Path

from click.testing import CliRunner

from benchmarks.profile import main
from tests.toy_bundle import ToyBundle


def test_a_server_at_work_is_profiled(toy: ToyBundle, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    where = (toy.folder.name, "--bundles", str(toy.folder.parent), "--out", str(kept))
    done = CliRunner().invoke(main, (*where, "--seconds", "0.3", "--lines", "1000"))
    assert done.exit_code == 0, done.output
    requests, outcomes = done.output.splitlines()[0].split(" requests: ")
    assert int(requests.replace(",", "")) > 0 and outcomes.startswith("{'200'")
    assert "(model_infer)" in done.output and "(data_received)" in done.output
    assert "(create_app)" not in done.output  # how the server came up is nobody's question
    assert pstats.Stats(str(kept)).total_calls > 0  # type: ignore[attr-defined]


def test_a_bundle_that_is_not_there_is_said(toy: ToyBundle) -> None:
    done = CliRunner().invoke(main, ("nope", "--bundles", str(toy.folder.parent)))
    assert done.exit_code == 1 and "got 'nope'" in done.output
