"""What can go wrong between the desk and the bridge, classed by what to do about it."""

from __future__ import annotations


class BridgeError(Exception):
    """The bridge did not do what was asked; the message says what happened and what to do."""


class BridgeUnavailableError(BridgeError):
    """It does not answer, failed, or its gateway is not ready: try again later.

    maybe_arrived: whether the request may have been carried out although no answer came.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        retry_after_seconds: float | None = None,
        maybe_arrived: bool = False,
        repeat: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_seconds = retry_after_seconds
        self.maybe_arrived = maybe_arrived
        self.repeat = repeat  # worth asking again at once


class BridgeBusyError(BridgeUnavailableError):
    """Asked faster than the gateway allows: wait `retry_after_seconds`, which is always given."""


class BridgeAnswerError(BridgeUnavailableError):
    """The answer is not what the contract says: half, garbage, or from another version or program."""


class BridgeRefusedError(BridgeError):
    """The same request will be refused again: the request, the token or a setting must change."""

    def __init__(self, message: str, *, code: str = "", gateway_code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.gateway_code = gateway_code


class BridgeSetupError(BridgeRefusedError):
    """Address or token are missing or not usable."""


class BridgeNotFoundError(BridgeRefusedError):
    """There is no such account, contract or order."""


class BridgeConflictError(BridgeRefusedError):
    """The client order id belongs to an order with other content."""
