"""Users and groups in the admin's style, with every change in the journal."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from core.admin_journal import JournalledAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, JournalledAdmin):  # type: ignore[misc]  # what unfold overrides, its stubs do not share
    """Who may sign in. Staff may operate the desk; others may only look."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    readonly_fields = ("last_login", "date_joined")

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Django's page for a new password, with a journal line when the password did change."""
        with transaction.atomic():
            before = User.objects.select_for_update().filter(pk=id).values_list("password", flat=True).first()
            response = super().user_change_password(request, id, form_url)
            user = User.objects.filter(pk=id).first()
            if user is not None and user.password != before:
                hidden = {"password": "not shown"}
                self.journal(request, user, "changed", hidden, hidden)
        return response


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, JournalledAdmin):  # type: ignore[misc]  # what unfold overrides, its stubs do not share
    """Named sets of permissions."""

    def get_queryset(self, request: HttpRequest) -> Any:
        """With their permissions, which the journal lists."""
        return super().get_queryset(request).prefetch_related("permissions__content_type")
