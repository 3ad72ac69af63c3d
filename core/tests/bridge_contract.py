"""bridge_csharp/openapi.yaml read by the tests, and a checker of the JSON Schema words it uses.

A small checker of our own, because no validator is among the desk's packages; a word it does not know is an error, so
that nothing in the contract goes unchecked.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PATH = Path(__file__).resolve().parents[2] / "bridge_csharp" / "openapi.yaml"
_TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
_NOTES = {"description", "examples", "default"}


@cache
def contract() -> dict[str, Any]:
    """The whole document."""
    document: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    return document


def resolve(reference: str) -> Any:
    """What a local $ref points at. Raises: KeyError."""
    if not reference.startswith("#/"):
        raise KeyError(reference)
    node: Any = contract()
    for part in reference[2:].split("/"):
        node = node[part]
    return node


def followed(node: dict[str, Any]) -> dict[str, Any]:
    """The node itself, or what it refers to."""
    return resolve(node["$ref"]) if "$ref" in node else node


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation), each with its path's parameters."""
    found = []
    for path, item in contract()["paths"].items():
        shared = item.get("parameters", [])
        for method, operation in item.items():
            if method != "parameters":
                found.append((path, method, {**operation, "parameters": shared + operation.get("parameters", [])}))
    return found


def wrong(value: Any, schema: dict[str, Any], where: str = "value") -> list[str]:
    """What in the value does not fit the schema; empty when all does. Raises: KeyError for an unknown schema word."""
    found: list[str] = []
    for word, wanted in schema.items():
        if word not in _NOTES:
            found += _WORDS[word](value, wanted, schema, where)
    return found


def message_schema(sender: str, kind: object) -> dict[str, Any]:
    """Schema of the WebSocket message with this `type`, from "from_desk" or "from_bridge". Raises: KeyError."""
    listed = contract()["paths"]["/v1/stream"]["get"]["x-websocket"][sender]
    by_type = {followed(node)["properties"]["type"]["const"]: followed(node) for node in listed}
    return by_type[kind]


def _type(value: Any, wanted: Any, schema: Any, where: str) -> list[str]:
    names = wanted if isinstance(wanted, list) else [wanted]
    return [] if any(_is(value, name) for name in names) else [f"{where}: {value!r} is no {' or '.join(names)}"]


def _is(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        whole = isinstance(value, int) or (isinstance(value, float) and (name == "number" or value.is_integer()))
        return whole and not isinstance(value, bool)
    return isinstance(value, _TYPES[name])


def _properties(value: Any, wanted: Any, schema: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    return [
        text for name, part in wanted.items() if name in value for text in wrong(value[name], part, f"{where}.{name}")
    ]


def _required(value: Any, wanted: Any, schema: Any, where: str) -> list[str]:
    return [f"{where}: {name} is missing" for name in wanted if isinstance(value, dict) and name not in value]


def _additional(value: Any, wanted: Any, schema: Any, where: str) -> list[str]:
    assert wanted is False, "only additionalProperties: false is understood"
    return [f"{where}: {name} is not known" for name in value if name not in schema["properties"]]


def _items(value: Any, wanted: Any, schema: Any, where: str) -> list[str]:
    if not isinstance(value, list):
        return []
    return [text for index, item in enumerate(value) for text in wrong(item, wanted, f"{where}[{index}]")]


def _any_of(value: Any, wanted: Any, schema: Any, where: str) -> list[str]:
    tries = [wrong(value, part, where) for part in wanted]
    return [] if any(not found for found in tries) else [text for found in tries for text in found]


def _pattern(value: Any, wanted: Any, schema: Any, where: str) -> list[str]:
    fits = not isinstance(value, str) or re.search(wanted, value)
    return [] if fits else [f"{where}: {value!r} does not match {wanted}"]


def _compare(name: str, fits: Any) -> Any:
    def check(value: Any, wanted: Any, schema: Any, where: str) -> list[str]:
        return [] if fits(value, wanted) else [f"{where}: {value!r} breaks {name} {wanted}"]

    return check


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_WORDS: dict[str, Any] = {
    "$ref": lambda value, wanted, schema, where: wrong(value, resolve(wanted), where),
    "type": _type,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "items": _items,
    "anyOf": _any_of,
    "allOf": lambda value, wanted, schema, where: [text for part in wanted for text in wrong(value, part, where)],
    "pattern": _pattern,
    "enum": _compare("enum", lambda value, wanted: value in wanted),
    "const": _compare("const", lambda value, wanted: value == wanted),
    "minimum": _compare("minimum", lambda value, wanted: not _number(value) or value >= wanted),
    "maximum": _compare("maximum", lambda value, wanted: not _number(value) or value <= wanted),
    "exclusiveMinimum": _compare("exclusiveMinimum", lambda value, wanted: not _number(value) or value > wanted),
    "minLength": _compare("minLength", lambda value, wanted: not isinstance(value, str) or len(value) >= wanted),
    "maxLength": _compare("maxLength", lambda value, wanted: not isinstance(value, str) or len(value) <= wanted),
    "minItems": _compare("minItems", lambda value, wanted: not isinstance(value, list) or len(value) >= wanted),
    "maxItems": _compare("maxItems", lambda value, wanted: not isinstance(value, list) or len(value) <= wanted),
    "uniqueItems": _compare(
        "uniqueItems", lambda value, wanted: not isinstance(value, list) or len(set(value)) == len(value)
    ),
}
