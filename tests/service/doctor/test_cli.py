"""`empir doctor`: a table for people, JSON for machines, an exit code for scripts."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.doctor.cli import main
from tests.toy_bundle import ToyBundle


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["doctor", *(str(each) for each in arguments)], env={"COLUMNS": "120"})


@pytest.fixture
def healthy(toy: ToyBundle) -> tuple[str, ...]:
    return ("--bundles", str(toy.folder.parent), "--default", "toy", "--port", "0")


def test_a_machine_that_can_serve_exits_with_0(healthy: tuple[str, ...]) -> None:
    result = run(*healthy)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split()[0] for line in result.stdout.splitlines() if line and not line.startswith(" ")]
    assert set(rows) <= {"ok", "warn"} and len(rows) >= 14
    assert "-> Measure it: empir evaluate toy --attach" in result.stdout
    assert "\x1b[" not in result.stdout  # no colours in a pipe


def test_for_machines_the_same_is_one_document(healthy: tuple[str, ...]) -> None:
    document = json.loads(run(*healthy, "--json").stdout)
    assert document["healthy"] is True
    assert {finding["level"] for finding in document["findings"]} <= {"ok", "warn"}
    assert all(finding.keys() == {"level", "topic", "found", "advice"} for finding in document["findings"])
    assert all(finding["advice"] for finding in document["findings"] if finding["level"] != "ok")


def test_what_keeps_the_server_from_starting_exits_with_1(toy: ToyBundle, tmp_path: Path) -> None:
    result = run("--bundles", tmp_path, "--port", "0", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["healthy"]) == (1, False)
    assert [finding["topic"] for finding in document["findings"] if finding["level"] == "fail"] == ["bundles"]


def test_a_setting_that_is_refused_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPIR_QUEUE", "long")
    result = run("--json")
    (finding,) = [each for each in json.loads(result.stdout)["findings"] if each["level"] == "fail"]
    assert result.exit_code == 1
    assert finding["found"].startswith("EMPIR_QUEUE: expected a whole number") and "'long'" in finding["found"]
    assert finding["advice"] == "Mend or leave out EMPIR_QUEUE"  # there is no flag --queue


def test_a_key_is_never_shown(healthy: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPIR_ADMIN_KEY", "open-sesame")
    result = run(*healthy)
    assert result.exit_code == 0
    assert "open-sesame" not in result.output
