"""How settings are checked: each refusal names its key, what arrived and what was expected. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import date
from math import isfinite
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigurationError(ValueError):
    """A setting is missing or makes no sense; the message names its key."""


def check(good: bool, key: str, value: Any, expected: str) -> None:
    """Raises: ConfigurationError unless good."""
    if not good:
        raise ConfigurationError(f"{key}: got {value!r}, expected {expected}")


def check_known(values: dict[str, Any], names: Iterable[str], prefix: str) -> None:
    """Raises: ConfigurationError for a key that is not among the names."""
    names = list(names)
    unknown = sorted(set(values) - set(names))
    if unknown:
        raise ConfigurationError(f"unknown setting {prefix}{unknown[0]}; known: {', '.join(names)}")


def part(key: str, build: Callable[[], T]) -> T:
    """What build() gives, its ValueError told with the key. Raises: ConfigurationError."""
    try:
        return build()
    except ConfigurationError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{key}: {error}") from error


def mapping(data: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under a key, empty if there is none. Raises: ConfigurationError."""
    value = data.get(key, {})
    check(isinstance(value, dict), key, value, "an object")
    return value


def names_of(kind: type) -> list[str]:
    """Field names of a dataclass."""
    return [item.name for item in fields(kind)]


def day(value: Any, key: str) -> date:
    """A date from its ISO text. Raises: ConfigurationError."""
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{key}: got {value!r}, expected a date such as 2011-07-01") from error


def is_number(value: Any) -> bool:
    """Whether it is a finite number, no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def is_whole(value: Any, least: int) -> bool:
    """Whether it is a whole number of at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
