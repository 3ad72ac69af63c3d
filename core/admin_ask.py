"""Buttons of the admin that change something: a question first, then a POST, then the page they came from."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.dataclasses import ActionDialog
from unfold.forms import BaseDialogForm


def ask(title: str, description: str, button: str, form: type[BaseDialogForm] = BaseDialogForm) -> ActionDialog:
    """The question of one button. A plain link would act on GET, which any other site could make a browser send."""
    return ActionDialog(title=title, description=description, form_class=form, form_submit_text=button)


def go_to(request: HttpRequest, url: str) -> HttpResponse:
    """Leave the question: htmx follows its own header, a browser without JavaScript a redirect."""
    if getattr(request, "htmx", False):
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)
