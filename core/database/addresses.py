"""Database addresses: the one an operator gives (DATABASE_URL) and the embedded server's."""

import os
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from core.database.errors import DatabaseUnavailable

USER = "desk"
NAME = "desk"
HOST = "127.0.0.1"
CONNECT_SECONDS = 10
# Spellings that Django's URL readers accept and libpq does not.
SCHEMES = {"psql": "postgresql", "pgsql": "postgresql", "timescale": "postgresql"}


@dataclass(frozen=True)
class DatabaseAddress:
    """Where a database answers. url: with the password, for programs; external: came from DATABASE_URL."""

    url: str
    external: bool = False

    @property
    def conninfo(self) -> str:
        """The URL in a spelling libpq understands."""
        scheme, separator, rest = self.url.partition("://")
        return f"{SCHEMES.get(scheme.lower(), scheme)}{separator}{rest}"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 5432

    @property
    def masked(self) -> str:
        """The URL for people and logs: the password is replaced by ***."""
        parts = urlsplit(self.url)
        if parts.password is None:
            return self.url
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))

    def parts(self) -> dict[str, Any]:
        """libpq's parameters: host, port, user, password, dbname and what the URL adds."""
        try:
            return dict(conninfo_to_dict(self.conninfo))
        except psycopg.Error as error:
            raise DatabaseUnavailable(f"PostgreSQL's clients do not understand {self.masked}: {error}") from error

    def with_database(self, name: str) -> "DatabaseAddress":
        """The same server and user, another database."""
        return replace(self, url=urlunsplit(urlsplit(self.url)._replace(path=f"/{name}")))


def embedded_address(port: int, password: str) -> DatabaseAddress:
    """The embedded server's address on loopback."""
    return DatabaseAddress(f"postgres://{USER}:{quote(password, safe='')}@{HOST}:{port}/{NAME}")


def external_address() -> DatabaseAddress | None:
    """The address in DATABASE_URL; None when it is unset or empty."""
    url = os.environ.get("DATABASE_URL", "").strip()
    return DatabaseAddress(url, external=True) if url else None


def check_external(address: DatabaseAddress) -> None:
    """Raise DatabaseUnavailable unless the database answers and offers the timescaledb extension."""
    scheme = address.url.partition("://")[0].lower()
    if scheme not in ("postgres", "postgresql", *SCHEMES):
        raise DatabaseUnavailable(
            f"DATABASE_URL starts with {scheme[:20]!r}, expected postgres://user:password@host:port/name "
            "(TimescaleDB is required, other databases do not work)"
        )
    query = "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'"
    try:
        with psycopg.connect(address.conninfo, connect_timeout=CONNECT_SECONDS) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise DatabaseUnavailable(
            f"DATABASE_URL is set, and {address.masked} does not answer: {reason}. Start that database or correct "
            "the address; unset DATABASE_URL to use the embedded database"
        ) from error
    if not row or not row[0]:
        raise DatabaseUnavailable(
            f"The database at {address.masked} answers but does not offer the timescaledb extension: install "
            "TimescaleDB on that server, or unset DATABASE_URL to use the embedded database"
        )
