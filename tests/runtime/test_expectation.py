"""What pydantic refused is told in this project's words."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtime.expectation import EXPECTED, expectation


class Inner(BaseModel):
    pass


class Everything(BaseModel):
    """A field for each kind of refusal that a setting, a query or a manifest can meet."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    number: float = Field(0.5, gt=0, lt=1)
    count: int = Field(1, ge=1, le=9)
    flag: bool = True
    mode: Literal["full", "quorum"] = "full"
    name: str = Field("a", min_length=1, pattern="^[a-z]*$")
    names: list[str] = Field(["a"], min_length=1)
    inner: Inner = Inner()


class Needed(BaseModel):
    field: int


REFUSED: list[tuple[type[BaseModel], str | bytes, str]] = [
    (Everything, b'{"number": "wide"}', "a number"),
    (Everything, b'{"number": []}', "a number"),
    (Everything, b'{"number": NaN}', "a finite number"),
    (Everything, b'{"number": 0}', "more than 0.0"),
    (Everything, b'{"number": 1}', "less than 1.0"),
    (Everything, b'{"count": 1.5}', "a whole number"),
    (Everything, b'{"count": "many"}', "a whole number"),
    (Everything, b'{"count": []}', "a whole number"),
    (Everything, b'{"count": "' + b"7" * 5000 + b'"}', "a whole number of fewer digits"),
    (Everything, b'{"count": 0}', "at least 1"),
    (Everything, b'{"count": 10}', "at most 9"),
    (Everything, b'{"flag": "maybe"}', "true or false"),
    (Everything, b'{"mode": "fast"}', "'full' or 'quorum'"),
    (Everything, b'{"name": 7}', "text"),
    (Everything, b'{"name": ""}', "text of 1 or more characters"),
    (Everything, b'{"name": "A"}', "text that matches ^[a-z]*$"),
    (Everything, b'{"names": 7}', "a list"),
    (Everything, b'{"names": []}', "at least 1 of them"),
    (Everything, b'{"inner": 7}', "an object"),
    (Everything, b'{"surprise": 7}', "nothing of this name"),
    (Needed, b"{}", "this field, which is missing"),
    (Needed, b"{", "JSON (EOF while parsing an object at line 1 column 1)"),
]


@pytest.mark.parametrize(("model", "text", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_was_expected(model: type[BaseModel], text: bytes, words: str) -> None:
    assert expectation(refusal(model, text)) == f"expected {words}"


def test_every_kind_is_one_that_pydantic_has() -> None:
    assert {refusal(model, text)["type"] for model, text, _ in REFUSED} == set(EXPECTED)


def refusal(model: type[BaseModel], text: str | bytes) -> Any:
    with pytest.raises(ValidationError) as refused:
        model.model_validate_json(text)
    (error,) = refused.value.errors()
    return error
