"""The store's connection string, as an operator gives it."""

from __future__ import annotations

from typing import Annotated

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import AfterValidator, SecretStr

_CONNECT_SECONDS = "5"


def _is_dsn(secret: SecretStr) -> SecretStr:
    try:
        conninfo_to_dict(secret.get_secret_value())
    except psycopg.Error:  # its text may repeat the password
        raise ValueError(
            "not a connection string of PostgreSQL, such as host=... dbname=... or postgresql://..."
        ) from None
    return secret


#: libpq's connection string or URL.
StoreDsn = Annotated[SecretStr, AfterValidator(_is_dsn)]


def with_deadline(secret: SecretStr) -> str:
    """The connection string, with a time limit for connecting if it has none."""
    dsn = secret.get_secret_value()
    return dsn if "connect_timeout" in conninfo_to_dict(dsn) else make_conninfo(dsn, connect_timeout=_CONNECT_SECONDS)
