"""Who acts and on which account, for commands; and the first operator."""

import getpass
import secrets

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from core.journal import record
from core.models import Account

FIRST_OPERATOR = "operator"


def terminal_actor() -> str:
    """The name the journal gets for an action from a terminal."""
    try:
        return f"{getpass.getuser()} (terminal)"
    except (KeyError, OSError):
        return "terminal"


def accounts_named(name: str | None) -> list[Account]:
    """One account by name, or all. Raises: CommandError naming the accounts there are."""
    accounts = list(Account.objects.order_by("name"))
    if name is None:
        if not accounts:
            raise CommandError("there is no account yet; `make up` creates one")
        return accounts
    found = [account for account in accounts if account.name == name]
    if not found:
        known = ", ".join(account.name for account in accounts) or "none"
        raise CommandError(f"there is no account {name!r}; known accounts: {known}")
    return found


def ensure_operator() -> str | None:
    """Create the first operator when nobody can sign in. Returns: the generated password, to be shown once, or None."""
    users = get_user_model().objects
    if users.filter(is_superuser=True, is_active=True).exists():
        return None
    password = secrets.token_urlsafe(12)
    users.create_superuser(FIRST_OPERATOR, "", password)
    record("operator.created", f"Operator {FIRST_OPERATOR} created", subject=f"user:{FIRST_OPERATOR}")
    return password
