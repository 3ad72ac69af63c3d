"""The contract of the bridge is a sound OpenAPI document, and the client's types are its schemas."""

import re
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest

from core.bridge import messages, stream_messages
from core.tests.bridge_contract import contract, followed, operations, resolve, wrong

OPERATIONS = operations()
SCHEMAS = contract()["components"]["schemas"]


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for part in node.values() for found in references(part)]
    return [found for part in node for found in references(part)] if isinstance(node, list) else []


def schemas_within(node: Any) -> list[dict[str, Any]]:
    """Every schema object below a schema."""
    found = [node]
    for part in node.get("properties", {}).values():
        found += schemas_within(part)
    for part in [*node.get("anyOf", []), *node.get("allOf", []), *([node["items"]] if "items" in node else [])]:
        found += schemas_within(part)
    return found


def test_the_document_names_its_version_and_wants_a_token():
    document = contract()
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] and re.fullmatch(r"\d+\.\d+\.\d+", document["info"]["version"])
    assert document["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_every_reference_resolves_and_every_component_is_used():
    used = set(references(contract()))
    for reference in used:
        resolve(reference)
    parts = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "parameters", "responses")
        for name in contract()["components"][kind]
    }
    assert parts == used


def test_everything_the_desk_needs_is_there():
    assert {operation["operationId"] for _, _, operation in OPERATIONS} == {
        "getHealth", "getAccount", "listPositions", "searchContracts", "getContract", "listBars", "openStream",
        "listOrders", "putOrder", "getOrder", "cancelOrder", "listExecutions",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=lambda part: part if isinstance(part, str) else ""
)
def test_an_operation_is_complete(path: str, method: str, operation: dict[str, Any]):
    parameters = [followed(node) for node in operation["parameters"]]
    in_path = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", path))
    assert all(parameter.get("required") for parameter in parameters if parameter["in"] == "path")
    assert all(parameter["description"] and "schema" in parameter for parameter in parameters)
    assert operation["summary"] and operation["tags"][0] in {tag["name"] for tag in contract()["tags"]}
    assert ("requestBody" in operation) == (method == "put")
    assert {"401", "500"} <= set(operation["responses"])
    for status, node in operation["responses"].items():
        response = followed(node)
        assert response["description"]
        if int(status) >= 400:
            assert response["content"] == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }
        elif status != "101":
            assert list(response["content"]) == ["application/json"]
        if status in ("429", "503"):
            assert response["headers"]["Retry-After"]["required"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_uses_only_words_the_checker_knows_and_its_patterns_compile(name: str):
    for schema in schemas_within(SCHEMAS[name]):
        wrong("", schema)  # an unknown word is a KeyError
        re.compile(schema.get("pattern", ""))
        if schema.get("type") == "object" and "allOf" not in schema:
            assert set(schema["required"]) <= set(schema["properties"])
    for example in SCHEMAS[name].get("examples", []):
        assert wrong(example, SCHEMAS[name]) == []


def test_every_code_of_an_error_is_described_where_it_comes_from():
    told = {
        code
        for response in contract()["components"]["responses"].values()
        for code in re.findall(r"`([a-z_]+)`", response["description"])
    }
    assert told == set(SCHEMAS["Problem"]["properties"]["code"]["enum"])


def test_every_message_of_the_stream_has_its_own_type():
    listed = contract()["paths"]["/v1/stream"]["get"]["x-websocket"]
    for sender in ("from_desk", "from_bridge"):
        types = [followed(node)["properties"]["type"]["const"] for node in listed[sender]]
        assert len(types) == len(set(types))
    assert types == list(stream_messages.KINDS)
    assert all("sequence" in followed(node)["required"] for node in listed["from_bridge"])


TYPES = {
    "Health": messages.Health, "GatewayHealth": messages.GatewayHealth, "Versions": messages.Versions,
    "Farm": messages.Farm, "Account": messages.AccountReport, "PositionList": messages.PositionList,
    "Position": messages.PositionReport, "ContractList": messages.ContractList, "Contract": messages.Contract,
    "Session": messages.Session, "BarPage": messages.BarPage, "Bar": messages.Bar,
    "OrderRequest": messages.OrderRequest, "Order": messages.OrderReport, "OrderList": messages.OrderList,
    "ExecutionPage": messages.ExecutionPage,
    "Execution": messages.ExecutionReport, "Commission": messages.Commission,
    "Problem": messages.Problem,    "FieldError": messages.FieldError, "Subscribe": stream_messages.Subscription,
    "WelcomeMessage": stream_messages.Welcome, "SubscribedMessage": stream_messages.Subscribed,
    "UnsubscribedMessage": stream_messages.Unsubscribed, "TradeMessage": stream_messages.TradeTick,
    "QuoteMessage": stream_messages.QuoteTick, "BarMessage": stream_messages.StreamBar,
    "StatusMessage": stream_messages.StreamStatus, "ErrorMessage": stream_messages.StreamProblem,
    "HeartbeatMessage": stream_messages.StreamHeartbeat,
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_a_type_of_the_client_has_exactly_the_fields_of_its_schema(name: str):
    wanted = set(SCHEMAS[name]["properties"]) - {"type"} | ({"type"} if name == "Problem" else set())
    assert {field.name for field in fields(TYPES[name])} == wanted


def test_contract_details_have_the_fields_of_a_contract_and_their_own():
    own = set(SCHEMAS["ContractDetails"]["properties"])
    assert {field.name for field in fields(messages.ContractDetails)} == own | set(SCHEMAS["Contract"]["properties"])


@pytest.mark.parametrize(
    ("choices", "schema"),
    [
        (messages.Side, SCHEMAS["Side"]),
        (messages.SecurityType, SCHEMAS["SecurityType"]),
        (messages.MarketDataType, SCHEMAS["MarketDataType"]),
        (messages.OrderType, SCHEMAS["OrderType"]),
        (messages.TimeInForce, SCHEMAS["TimeInForce"]),
        (messages.OrderStatus, SCHEMAS["OrderStatus"]),
        (messages.BridgeState, SCHEMAS["Health"]["properties"]["state"]),
        (messages.BridgeState, SCHEMAS["StatusMessage"]["properties"]["state"]),
        (get_type_hints(messages.Health)["mode"], SCHEMAS["Health"]["properties"]["mode"]),
        (get_type_hints(messages.ExecutionReport)["liquidity"], SCHEMAS["Execution"]["properties"]["liquidity"]),
        (get_type_hints(messages.Farm)["state"], SCHEMAS["Farm"]["properties"]["state"]),
        (get_type_hints(messages.Farm)["kind"], SCHEMAS["Farm"]["properties"]["kind"]),
    ],
)
def test_choices_are_the_same_in_contract_and_client(choices: Any, schema: dict[str, Any]):
    assert list(get_args(choices)) == schema["enum"]


def test_the_checker_finds_what_is_wrong():
    # The checker must not wave through what the contract forbids: one wrong value for each word.
    bar = {"time": "2026-03-02T14:30:00.000000Z", "open": "1", "high": "2", "low": "0.5", "close": "1.5",
           "volume": "10", "n_trades": None, "average_price": None}  # fmt: skip
    schema = SCHEMAS["Bar"]
    assert wrong(bar, schema) == []
    assert wrong({**bar, "open": 1.0}, schema) == ["value.open: 1.0 is no string"]
    assert len(wrong({**bar, "open": "1e3"}, schema)) == 1
    assert len(wrong({**bar, "time": "2026-03-02T14:30:00Z"}, schema)) == 1
    assert len(wrong({**bar, "n_trades": -1}, schema)) == 1
    assert len(wrong({**bar, "average_price": "x"}, schema)) == 2  # neither a decimal nor null
    assert wrong({name: bar[name] for name in list(bar)[1:]}, schema) == ["value: time is missing"]
    assert wrong("0.00", SCHEMAS["PositiveDecimal"]) and not wrong("0.01", SCHEMAS["PositiveDecimal"])
    assert wrong({"field": "a", "detail": "b", "more": 1}, SCHEMAS["FieldError"]) == []
    unsubscribe = {"type": "unsubscribe", "id": "a", "more": 1}
    assert wrong(unsubscribe, SCHEMAS["Unsubscribe"]) == ["value: more is not known"]
    assert wrong(7, SCHEMAS["IntervalSeconds"]) and wrong(True, SCHEMAS["Sequence"])
