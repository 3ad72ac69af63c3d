"""Who may touch what trades: staff and superusers; everybody else signed in may look."""

from collections.abc import Callable
from functools import wraps

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme

View = Callable[..., HttpResponse]


def operator_required(view: View) -> View:
    """Refuse everybody who is not an operator, with a sentence for the 403 page."""

    @wraps(view)
    def checked(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        if not (request.user.is_staff or request.user.is_superuser):
            raise PermissionDenied(
                f"{request.user.get_username()} may look but not operate. Ask an administrator for staff rights."
            )
        return view(request, *args, **kwargs)

    return checked


def go_back(request: HttpRequest, fallback: str) -> HttpResponseRedirect:
    """Redirect to the page named in the form's `next`, if it is one of ours, else to the fallback."""
    back = request.POST.get("next", "")
    if back and url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        return HttpResponseRedirect(back)
    return redirect(fallback)
