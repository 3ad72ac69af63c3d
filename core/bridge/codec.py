"""Between JSON and typed messages: decimals as strings, times as ISO 8601 with six decimals and Z. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from core.bridge.errors import BridgeAnswerError

_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,12})?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
Message = TypeVar("Message")


def decode(kind: type[Message], value: object, where: str = "") -> Message:
    """Build the dataclass `kind` from a JSON object; fields it does not know are ignored.

    Raises: BridgeAnswerError naming the field that is missing or of the wrong kind.
    """
    wanted: Any = kind
    return _reader(wanted)(value, where or kind.__name__)


def encode(value: Any) -> Any:
    """JSON for a dataclass, Decimal, datetime, date or a list of them; the rest stays as it is.

    Raises: ValueError for a time without zone or a decimal the contract cannot carry.
    """
    if is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def decimal_text(value: Decimal) -> str:
    """'101.25': without exponent. Raises: ValueError when it needs more than 18 digits before or 12 after the point."""
    text = f"{value.normalize():f}" if value.is_finite() else str(value)
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{value} cannot be sent: a decimal has at most 18 digits before and 12 after the point")
    return text


def time_text(value: datetime) -> str:
    """'2026-03-02T14:30:00.000000Z'. Raises: ValueError for a time without zone."""
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} names no time zone: pass an aware time")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@cache
def _reader(kind: Any) -> Callable[[object, str], Any]:
    """The function that reads one kind of value; made once for each kind."""
    if is_dataclass(kind):
        return _object_reader(kind)
    origin = get_origin(kind)
    if origin is Literal:
        return _choice_reader(get_args(kind))
    if origin in (Union, UnionType):
        [inner] = [part for part in get_args(kind) if part is not NoneType]
        read = _reader(inner)
        return lambda value, where: None if value is None else read(value, where)
    if origin is tuple:
        return _list_reader(_reader(get_args(kind)[0]))
    return _PLAIN[kind]


def _object_reader(kind: Any) -> Callable[[object, str], Any]:
    hints = get_type_hints(kind)
    # A dataclass that refers to itself would need a lazy reader; none of ours does.
    readers = [(field.name, _reader(hints[field.name])) for field in fields(kind)]

    def read(value: object, where: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(where, value, "an object")
        missing = [name for name, _ in readers if name not in value]
        if missing:
            raise BridgeAnswerError(f"{where} has no {', '.join(missing)}: {_CHECK_VERSION}", maybe_arrived=True)
        return kind(**{name: reader(value[name], f"{where}.{name}") for name, reader in readers})

    return read


def _choice_reader(choices: tuple[Any, ...]) -> Callable[[object, str], Any]:
    def read(value: object, where: str) -> Any:
        if not isinstance(value, str) or value not in choices:
            raise _wrong(where, value, "one of " + ", ".join(choices))
        return value

    return read


def _list_reader(item: Callable[[object, str], Any]) -> Callable[[object, str], Any]:
    def read(value: object, where: str) -> Any:
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        return tuple(item(element, f"{where}[{index}]") for index, element in enumerate(value))

    return read


def _decimal(value: object, where: str) -> Decimal:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise _wrong(where, value, 'a decimal string such as "101.25"')
    return Decimal(value)


def _time(value: object, where: str) -> datetime:
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass  # a 30th of February has the form of a date
    raise _wrong(where, value, "a time such as 2026-03-02T14:30:00.000000Z")


def _date(value: object, where: str) -> date:
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise _wrong(where, value, "a date such as 2026-03-02")


def _plain(wanted: type | tuple[type, ...], words: str) -> Callable[[object, str], Any]:
    def read(value: object, where: str) -> Any:
        # JSON's true is an int to Python.
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise _wrong(where, value, words)
        return value

    return read


def _wrong(where: str, value: object, wanted: str) -> BridgeAnswerError:
    text = repr(value)
    shown = text if len(text) <= 60 else text[:57] + "..."
    return BridgeAnswerError(f"{where} is {shown}, expected {wanted}: {_CHECK_VERSION}", maybe_arrived=True)


_CHECK_VERSION = "check that the bridge has the same version as the desk"
_PLAIN: dict[Any, Callable[[object, str], Any]] = {
    str: _plain(str, "a text"),
    int: _plain(int, "a whole number"),
    float: _plain((int, float), "a number"),
    bool: _plain(bool, "true or false"),
    Decimal: _decimal,
    datetime: _time,
    date: _date,
}
