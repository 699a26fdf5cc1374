"""Findings on the processor, the address, variables and bundles."""

import json
import socket
from pathlib import Path

import pytest

from robustness.reporting.report import REPORT
from runtime.bundle import MANIFEST
from runtime.kernels import Kernels
from service.doctor import address, bundles, processor, variables
from service.doctor.finding import Finding
from service.settings import Settings
from tests.linear_victim import LINEAR_MANIFEST
from tests.live import Live
from tests.toy_bundle import ToyBundle, flip_a_bit, neighbour
from tests.toy_report import toy_report

XEON = (
    "model name\t: Xeon\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_int8\n\nmodel name\t: Xeon\nflags\t\t: fpu avx2\n"
)
OLD = "model name\t: Old\nflags\t\t: fpu avx2\n"


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.topic: finding.level for finding in findings}


def test_a_processor_with_vnni_is_quick_and_another_is_a_warning() -> None:
    xeon, old, unknown = (processor.processor(text) for text in (XEON, OLD, ""))
    assert (xeon.level, xeon.found) == (
        "ok",
        "Xeon: avx2, avx512f, avx512_vnni, amx_int8; low-bit kernels are quick",
    )
    assert (old.level, unknown.level) == ("warn", "warn")
    assert "Old: avx2; without VNNI" in old.found and "empir load engine" in old.advice


def test_cores_and_onnx_runtime() -> None:
    assert [processor.cores(usable, 8).level for usable in (1, 2)] == ["warn", "ok"]
    assert processor.onnx_runtime().level == "ok"


def test_a_free_port_is_ok_and_a_host_that_is_none_fails() -> None:
    assert address.port("127.0.0.1", 0).level == "ok"
    refused = address.port("a..b", 0)
    assert refused.level == "fail" and "cannot listen on a..b" in refused.found


def test_a_port_that_something_else_has_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "PATIENCE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        finding = address.port("127.0.0.1", mute.getsockname()[1])
    assert (finding.level, finding.found) == ("fail", "cannot listen on 127.0.0.1: Address already in use")


def test_a_port_that_our_server_has_is_a_warning(server: Live) -> None:
    finding = address.port("127.0.0.1", server.port)
    assert (finding.level, finding.found) == ("warn", "an EMPIR Serve answers on 127.0.0.1 already")


@pytest.mark.parametrize(
    ("host", "level"), [("127.0.0.1", "ok"), ("::1", "ok"), ("localhost", "ok"), ("0.0.0.0", "warn"), ("::", "warn")]
)
def test_an_address_that_others_reach_is_a_warning(host: str, level: str) -> None:
    assert address.exposure(host).level == level


def test_settings_that_differ_are_named_and_keys_are_not_shown() -> None:
    assert variables.changed(Settings()).found == "every one at its default"
    changed = variables.changed(Settings(port=9000, mode="quorum", default="toy"))
    assert changed.found == "EMPIR_PORT=9000, EMPIR_DEFAULT=toy, EMPIR_MODE=quorum"


def test_a_misspelt_variable_is_a_warning_with_the_nearest_name() -> None:
    environment = {
        "EMPIR_PROT": "1",
        "EMPIR_PORT": "1",
        "empir_mode": "full",
        "EMPIR_DATA_DIR": "x",
        "PATH": "",
        "EMPIR_X": "",
    }
    port, x = variables.unknown(environment)
    assert (port.level, port.found, port.advice) == (
        *("warn", "EMPIR_PROT is no setting, and changes nothing", "Did you mean EMPIR_PORT?"),
    )
    assert x.found.startswith("EMPIR_X ") and "docs/reference/settings.md" in x.advice


def test_a_good_bundle_has_only_its_missing_report_to_warn_of(toy: ToyBundle) -> None:
    found, size = bundles.examined(toy.folder.parent, "toy")
    assert levels(found) == {
        **{"toy": "ok", "toy, w2a4-a": "ok", "toy, w2a4-b": "ok", "toy, fp32": "ok"},
        **{"toy, report": "warn", "default bundle": "ok"},
    }
    assert size == sum(path.stat().st_size for path in toy.folder.glob("*.onnx"))
    assert "empir evaluate toy --attach" in next(each for each in found if each.topic == "toy, report").advice


def test_a_spoilt_graph_fails_and_so_does_a_default_that_is_not_there(toy_copy: Path) -> None:
    graph = toy_copy / "fp32.gradient.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    found, _ = bundles.examined(toy_copy.parent, "none")
    assert levels(found) == {"toy": "fail", "default bundle": "fail"}
    assert "corrupt or altered" in found[0].found
    assert found[1].advice == "--default toy, or EMPIR_DEFAULT=toy"


def test_a_damaged_bundle_stops_the_server_only_if_it_is_the_default(toy_copy: Path) -> None:
    neighbour(toy_copy, "whole")
    flip_a_bit(toy_copy / "fp32.onnx")
    for default, says in (("toy", "The server does not start with it"), ("whole", "does not serve it")):
        (finding,) = [each for each in bundles.examined(toy_copy.parent, default)[0] if each.topic == "toy"]
        assert finding.level == "fail" and says in finding.advice


@pytest.mark.parametrize("there", [True, False])
def test_no_bundles_fail(tmp_path: Path, there: bool) -> None:
    (finding,) = bundles.examined(tmp_path if there else tmp_path / "none", "toy")[0]
    assert (finding.level, finding.topic) == ("fail", "bundles")


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        ({}, "ok", "same version, every check passed"),
        ({"trustworthy": False, "failed_checks": ["queries"]}, "warn", "checks failed: queries"),
        ({"version": "0"}, "warn", "on version 0, the bundle is 1"),
        (
            {"detection": toy_report(LINEAR_MANIFEST).detection},
            "warn",
            "what it says of `suspicious` is about another score or threshold",
        ),
        ({"name": "other"}, "fail", "expected a report on toy"),
    ],
    ids=str,
)
def test_a_report_is_judged(toy: ToyBundle, toy_copy: Path, change: dict[str, object], level: str, says: str) -> None:
    manifest = toy.manifest.model_copy(update={"report": REPORT})
    report = toy_report(manifest, detection=change.get("detection")).model_dump(mode="json")
    for name, value in change.items():
        if name != "detection":
            (report["bundle"] if name in report["bundle"] else report)[name] = value
    (toy_copy / MANIFEST).write_text(manifest.model_dump_json())
    (toy_copy / REPORT).write_text(json.dumps(report))
    finding = next(each for each in bundles.examined(toy_copy.parent, "toy")[0] if each.topic == "toy, report")
    assert finding.level == level
    assert says in finding.found


@pytest.mark.parametrize(
    ("is_float", "seconds", "level"),
    [
        (True, {"Conv": 1.0}, "ok"),
        (False, {"QLinearConv": 1.0, "Clip": 3.0}, "ok"),
        (False, {"Conv": 1.0}, "warn"),
        (False, {"QLinearConv": 1.0, "ConvInteger": 1.0}, "warn"),
    ],
)
def test_a_low_precision_member_is_to_run_quick_integer_kernels(
    is_float: bool, seconds: dict[str, float], level: str
) -> None:
    assert bundles.judged("toy, a", "w2a4", is_float, Kernels(seconds)).level == level
