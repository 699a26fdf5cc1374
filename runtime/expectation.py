"""What a value that pydantic refused should have been, in the words of this project."""

from pydantic_core import ErrorDetails

EXPECTED = {
    "bool_parsing": "true or false",
    "extra_forbidden": "nothing of this name",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_type": "a whole number",
    "json_invalid": "JSON ({error})",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "missing": "this field, which is missing",
    "model_type": "an object",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "text of {min_length} or more characters",
    "string_type": "text",
    "too_short": "at least {min_length} of them",
}
"""By pydantic's name of the error; in braces what it says of the case."""


def expectation(error: ErrorDetails) -> str:
    """`expected ...` for the kinds of error that users meet; pydantic's own sentence for any other.

    >>> expectation({"type": "greater_than", "loc": ("eps",), "msg": "...", "input": 0, "ctx": {"gt": 0}})
    'expected more than 0'
    """
    words = EXPECTED.get(error["type"])
    return error["msg"] if words is None else f"expected {words.format(**error.get('ctx', {}))}"
