"""Points Django's connection at the database server that is running now."""

import environ
from django.db import connections

from core.database import DatabaseAddress


def use_address(address: DatabaseAddress) -> None:
    """Use `address` from now on in this process; the embedded server may come back on another port."""
    connection = connections["default"]
    connection.close()
    wanted = environ.Env.db_url_config(address.url)
    connection.settings_dict.update({key: wanted[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")})
