"""What goes wrong with the database, and what a person can do about it."""

WAYS_OUT = (
    "Two other ways: (1) Docker: set DESK_DATABASE_PASSWORD, run `docker compose up -d` and point DATABASE_URL at it "
    "(see compose.yaml); (2) any PostgreSQL with TimescaleDB: set DATABASE_URL=postgres://user:password@host:port/name."
)


class DatabaseUnavailable(Exception):
    """No usable database. Remedy: fix the configuration named in the message, or take another way in."""


def cannot_unpack(reason: str) -> DatabaseUnavailable:
    """The error of a host on which the private server cannot be unpacked: the reason, then the two ways out."""
    return DatabaseUnavailable(f"The embedded database cannot be set up here: {reason.rstrip('. ')}. {WAYS_OUT}")
