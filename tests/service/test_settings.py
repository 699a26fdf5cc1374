"""Settings: from variables and arguments, frozen, each documented."""

import ast
import inspect
from pathlib import Path

import pytest
from pydantic import ValidationError

from service import settings
from service.settings import Settings


def test_variables_are_read_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPIR_PORT", "9000")
    monkeypatch.setenv("EMPIR_BUNDLES", "/srv/bundles")
    monkeypatch.setenv("EMPIR_MODE", "quorum")
    monkeypatch.setenv("EMPIR_NO_SUCH_SETTING", "1")
    found = Settings(port=9001)
    assert (found.port, found.bundles, found.mode) == (9001, Path("/srv/bundles"), "quorum")


def test_the_defaults_are_the_designs() -> None:
    found = Settings()
    assert (found.host, found.port, found.bundles, found.default) == ("127.0.0.1", 8000, Path("bundles"), "mnist")
    assert (found.mode, found.audit_rate) == ("full", 0.01)
    assert (found.max_body_bytes, found.max_pixels) == (10_000_000, 25_000_000)
    assert (found.header_timeout_s, found.body_timeout_s) == (10, 20)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("port", "65536"),
            ("port", "-1"),
            ("mode", "bogus"),
            ("concurrency", "all"),
            ("engine", "tpu"),
            ("audit_rate", "1.1"),
        ),
        *(("queue", "-1"), ("deadline_ms", "0"), ("audit_rate", "nan"), ("max_body_bytes", "0")),
        *(("header_timeout_s", "0"), ("header_timeout_s", "nan"), ("body_timeout_s", "inf"), ("deadline_ms", "inf")),
    ],
)
def test_a_value_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"EMPIR_{name.upper()}", value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_is_documented_where_it_is_defined() -> None:
    (body,) = (node.body for node in ast.parse(inspect.getsource(settings)).body if isinstance(node, ast.ClassDef))
    fields = [index for index, node in enumerate(body) if isinstance(node, ast.AnnAssign)]
    assert len(fields) == len(Settings.model_fields)
    for index in fields:
        following = body[index + 1]
        assert isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant), ast.unparse(body[index])
