"""JSON to frozen dataclasses, by their type hints: keys that are not known are left alone, so servers may add some."""

from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from empir_client.errors import UnexpectedAnswer

T = TypeVar("T")


def read(kind: type[T], value: Any, where: str = "answer") -> T:
    """`value`, parsed from JSON, as `kind`. Raises UnexpectedAnswer, naming the field that is not what it should be.

    >>> read(tuple[int, ...], [1, 2])
    (1, 2)
    """
    return cast(T, _read(kind, value, where))


def _read(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _record(cast(type[Any], kind), value, where)
    if get_origin(kind) is not None:
        return _container(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value if kind is Any else _expect(kind, value, where)


def _container(kind: Any, value: Any, where: str) -> Any:
    """`X | None`, `tuple[X, ...]` or `dict[str, X]`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else _read(arguments[0], value, where)
    if origin is tuple:
        items = _expect(list, value, where)
        return tuple(_read(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(items))
    return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in _expect(dict, value, where).items()}


def _record(kind: type[Any], value: Any, where: str) -> Any:
    document, hints = _expect(dict, value, where), get_type_hints(kind)
    given = {}
    for field in fields(kind):
        if field.name in document:
            given[field.name] = _read(hints[field.name], document[field.name], f"{where}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UnexpectedAnswer(f"{where}.{field.name}: expected in EMPIR Serve's answer, it is not there")
    return kind(**given)


def _expect(kind: type[Any], value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UnexpectedAnswer(f"{where}: expected {kind.__name__}, got {type(value).__name__}")
    return value
