"""The bridge's HTTP side: one method for each operation of bridge_csharp/openapi.yaml."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from core.bridge import messages
from core.bridge.codec import decode, encode, time_text
from core.bridge.errors import (
    BridgeAnswerError,
    BridgeBusyError,
    BridgeConflictError,
    BridgeError,
    BridgeNotFoundError,
    BridgeRefusedError,
    BridgeSetupError,
    BridgeUnavailableError,
)
from core.bridge.limits import limit

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
_BUSY = 429
_LONGEST_RETRY_AFTER = 86_400.0  # seconds; a longer one is a mistake
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Patience:
    """How long the client waits, in seconds, and how often it asks."""

    connect: float = 3.0
    read: float = 10.0
    history_read: float = 60.0  # the gateway takes its time over history
    n_tries: int = 3
    first_wait: float = 0.2
    longest_wait: float = 2.0


def checked_address(address: str, token: str) -> str:
    """The address without a slash at its end. Raises: BridgeSetupError saying what is missing or wrong."""
    if not address or not token:
        missing = " and ".join(
            name for name, value in (("DESK_BRIDGE_ADDRESS", address), ("DESK_BRIDGE_TOKEN", token)) if not value
        )
        raise BridgeSetupError(f"the bridge is not set up: set {missing}", code="not_set_up")
    try:
        parts = urlsplit(address)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        _ = parts.port  # raises for a port that is no number
    except ValueError:
        right = False
    if not right:
        raise BridgeSetupError(
            f"the bridge is not set up: DESK_BRIDGE_ADDRESS is {address!r}, expected such as http://127.0.0.1:8790",
            code="not_set_up",
        )
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise BridgeSetupError(
            "the bridge is not set up: DESK_BRIDGE_TOKEN has characters that no header can carry", code="not_set_up"
        )
    return address.rstrip("/")


class BridgeClient:
    """Speaks with the bridge. Every operation of the contract may be repeated, so each is when its answer got lost.

    Raises: BridgeSetupError when address or token are missing. Its methods raise BridgeError's subclasses.
    """

    def __init__(self, address: str, token: str, *, patience: Patience | None = None) -> None:
        self.address = checked_address(address, token)
        self._patience = patience or Patience()
        self._http = httpx.Client(
            base_url=self.address,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json, application/problem+json"},
            timeout=self._timeout(self._patience.read),
            trust_env=False,  # a proxy of the environment is not meant for the bridge
            event_hooks={"response": [limit]},
        )

    def __enter__(self) -> BridgeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def health(self) -> messages.Health:
        """How the bridge and its gateway are."""
        return self._ask(messages.Health, "GET", "/v1/health")

    def account(self, account: str | None = None) -> messages.AccountReport:
        """Summary values of an account; None is the only one."""
        return self._ask(messages.AccountReport, "GET", "/v1/account", params={"account": account})

    def positions(self, account: str | None = None) -> messages.PositionList:
        """Every position that is not flat."""
        return self._ask(messages.PositionList, "GET", "/v1/positions", params={"account": account})

    def search_contracts(self, text: str, limit: int = 10) -> tuple[messages.Contract, ...]:
        """Contracts whose symbol or name resembles the text, best first."""
        found = self._ask(messages.ContractList, "GET", "/v1/contracts", params={"text": text, "limit": limit})
        return found.items

    def contract(self, con_id: int) -> messages.ContractDetails:
        """Everything about one contract."""
        return self._ask(messages.ContractDetails, "GET", f"/v1/contracts/{con_id}")

    def bars(
        self,
        con_id: int,
        interval_seconds: int,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        what: str = "trades",
        regular_hours: bool = True,
        limit: int = 1000,
        page: str | None = None,
    ) -> messages.BarPage:
        """One page of closed bars with start <= time < end, oldest first. BridgeBusyError: wait and ask again."""
        params = {
            "interval_seconds": interval_seconds,
            "start": start and time_text(start),
            "end": end and time_text(end),
            "what": what,
            "regular_hours": "true" if regular_hours else "false",
            "limit": limit,
            "page": page,
        }
        read = self._patience.history_read
        path = f"/v1/contracts/{con_id}/bars"
        found = self._ask(messages.BarPage, "GET", path, params=params, read_seconds=read)
        return _moved_on(found, page, found.next_page)

    def put_order(self, client_order_id: str, request: messages.OrderRequest) -> messages.OrderReport:
        """Place an order once, however often this is called with the same id and content.

        Raises: BridgeConflictError when the id belongs to another order; BridgeUnavailableError with `maybe_arrived`
        when no answer came: then ask `order` before anything else.
        """
        return self._ask(messages.OrderReport, "PUT", _order_path(client_order_id), json=encode(request))

    def order(self, client_order_id: str) -> messages.OrderReport:
        """One order. BridgeNotFoundError: it never arrived."""
        return self._ask(messages.OrderReport, "GET", _order_path(client_order_id))

    def orders(self, *, only_open: bool = True, limit: int = 200) -> tuple[messages.OrderReport, ...]:
        """The orders the bridge knows, newest first, those placed elsewhere included."""
        params = {"state": "open" if only_open else "all", "limit": limit}
        return self._ask(messages.OrderList, "GET", "/v1/orders", params=params).items

    def cancel_order(self, client_order_id: str) -> messages.OrderReport:
        """Ask for an order to be canceled; it may still fill until its status says that it ended."""
        return self._ask(messages.OrderReport, "DELETE", _order_path(client_order_id))

    def executions(self, after: str | None = None, limit: int = 200) -> messages.ExecutionPage:
        """Executions after a cursor, in the order in which the bridge learned of them."""
        found = self._ask(messages.ExecutionPage, "GET", "/v1/executions", params={"after": after, "limit": limit})
        return _moved_on(found, after, found.next_cursor) if found.more else found

    def _ask(
        self,
        kind: type[Answer],
        method: str,
        path: str,
        *,
        params: dict[str, Any] | None = None,
        json: Any = None,
        read_seconds: float | None = None,
    ) -> Answer:
        """Send, again if the answer got lost, and read the answer."""
        patience = self._patience
        arrived: list[bool] = []  # whether an attempt may have been carried out

        def note(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            arrived.append(isinstance(error, BridgeUnavailableError) and error.maybe_arrived)

        retrying = Retrying(
            stop=stop_after_attempt(patience.n_tries),
            wait=wait_exponential_jitter(
                multiplier=patience.first_wait, max=patience.longest_wait, jitter=patience.first_wait
            ),
            retry=retry_if_exception(lambda error: isinstance(error, BridgeUnavailableError) and error.repeat),
            after=note,
            reraise=True,
        )
        request = self._http.build_request(
            method,
            path,
            params={name: value for name, value in (params or {}).items() if value is not None},
            json=json,
            timeout=self._timeout(read_seconds or patience.read),
        )
        try:
            return retrying(self._once, kind, request)
        except BridgeUnavailableError as error:
            error.maybe_arrived = error.maybe_arrived or any(arrived)
            raise

    def _once(self, kind: type[Answer], request: httpx.Request) -> Answer:
        try:
            response = self._http.send(request)
        except httpx.HTTPError as error:
            sent = not isinstance(error, _NOT_SENT)
            raise BridgeUnavailableError(
                f"the bridge at {self.address} {_happened(error)}; check that it runs",
                maybe_arrived=sent,
                repeat=True,
            ) from error
        if not response.is_success:
            raise _problem(response)
        return _read(kind, response)

    def _timeout(self, read_seconds: float) -> httpx.Timeout:
        connect = self._patience.connect
        return httpx.Timeout(connect=connect, read=read_seconds, write=connect, pool=connect)


def _moved_on(found: Answer, asked: str | None, following: str | None) -> Answer:
    """The answer. Raises: BridgeAnswerError when it leads back to itself, which would be read for ever."""
    if asked is not None and following == asked:
        raise BridgeAnswerError(f"the bridge names the page it has just given, {asked[:60]!r}, as the next one")
    return found


def _order_path(client_order_id: str) -> str:
    return f"/v1/orders/{quote(client_order_id, safe='')}"


def _happened(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        return "cannot be reached"
    if isinstance(error, httpx.TimeoutException):
        return "did not answer in time"
    return f"broke off its answer ({type(error).__name__})"


def _read(kind: type[Answer], response: httpx.Response) -> Answer:
    try:
        return decode(kind, response.json())
    except BridgeAnswerError as error:
        error.repeat = True
        raise
    except ValueError as error:
        raise BridgeAnswerError(
            f"the bridge answered {response.status_code} with something that is not JSON; check what listens there",
            maybe_arrived=True,
            repeat=True,
        ) from error


def _problem(response: httpx.Response) -> BridgeError:
    """The error for an answer that is no success."""
    status = response.status_code
    try:
        problem = decode(messages.Problem, response.json())
        code, words, gateway_code = problem.code, problem.words(), problem.gateway_code
    except (ValueError, BridgeAnswerError):
        code, gateway_code = "", None
        words = f"it answered {status} without saying why; check that the address is the bridge's"
        if status < httpx.codes.INTERNAL_SERVER_ERROR and status != _BUSY:
            # Another program's 404 must not pass for "this order never arrived".
            return BridgeAnswerError(f"the bridge: {words}", maybe_arrived=True)
    text = f"the bridge: {words}"
    wait = _retry_after(response)
    if status == _BUSY:
        return BridgeBusyError(text, code=code, retry_after_seconds=wait or 1.0)
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        return BridgeUnavailableError(text, code=code, retry_after_seconds=wait)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return BridgeUnavailableError(text, code=code, retry_after_seconds=wait, maybe_arrived=True, repeat=True)
    if status == httpx.codes.NOT_FOUND:
        return BridgeNotFoundError(text, code=code, gateway_code=gateway_code)
    if status == httpx.codes.CONFLICT:
        return BridgeConflictError(text, code=code, gateway_code=gateway_code)
    return BridgeRefusedError(text, code=code, gateway_code=gateway_code)


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_RETRY_AFTER) if text.isascii() and text.isdigit() else None
