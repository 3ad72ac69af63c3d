"""The Content-Security-Policy: nothing from another host, no inline script without this response's nonce."""

import secrets
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# lightweight-charts adds one fixed <style> for its attribution logo; this is that text's hash (version 5.2.1).
CHART_LOGO_STYLE = "'sha256-3pRED1tOXas1FXFoPb9TGCjmYe9XQsmO9OV23khV2nY='"
ADMIN_PREFIX = "/admin/"


def policy(nonce: str, socket_origin: str, *, admin: bool = False) -> str:
    """The header's value. The admin's pages (unfold) run Alpine.js, which evaluates strings and sets styles."""
    script = "'self' 'unsafe-inline' 'unsafe-eval'" if admin else f"'self' 'nonce-{nonce}'"
    style = "'self' 'unsafe-inline'" if admin else f"'self' {CHART_LOGO_STYLE}"
    rules = {
        "default-src": "'self'",
        "script-src": script,
        "style-src": style,
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": f"'self' {socket_origin}",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


class ContentSecurityPolicyMiddleware:
    """Gives the request a nonce as `csp_nonce` and every response the policy."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        nonce = secrets.token_urlsafe(16)
        request.csp_nonce = nonce  # type: ignore[attr-defined]
        response = self.get_response(request)
        if "Content-Security-Policy" not in response:
            # Some browsers do not count a websocket to the same host as 'self'.
            socket_origin = f"{'wss' if request.is_secure() else 'ws'}://{request.get_host()}"
            admin = request.path.startswith(ADMIN_PREFIX)
            response["Content-Security-Policy"] = policy(nonce, socket_origin, admin=admin)
        return response
