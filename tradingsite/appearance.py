"""Theme and colour pair: kept in two cookies, so they work before signing in and without JavaScript."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from tradingsite.context import PAIRS, THEMES

YEAR = 365 * 86_400
CHOICES = {"theme": THEMES, "pair": PAIRS}


@login_not_required
@require_POST
def appearance(request: HttpRequest) -> HttpResponse:
    """Set the theme or the pair of colours and go back."""
    wanted = {name: request.POST[name] for name in CHOICES if name in request.POST}
    if not wanted or any(value not in CHOICES[name] for name, value in wanted.items()):
        return HttpResponseBadRequest("theme is dark or light, pair is green-red or blue-orange")
    back = request.POST.get("next", "/")
    safe = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    response = redirect(back if safe else "/")
    for name, value in wanted.items():
        response.set_cookie(name, value, max_age=YEAR, samesite="Lax", secure=request.is_secure())
    return response
