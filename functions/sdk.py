"""Clients of AWS's services, as functions make them.

They are botocore's: boto3 adds helpers for files, and loads threads and processes for them at each cold start.
"""

from __future__ import annotations

from typing import Any

from botocore.config import Config
from botocore.session import get_session


def client(service: str, patience: Config) -> Any:  # noqa: ANN401 - what a service's client is, its caller says
    """A client with the ambient credentials, in the ambient region."""
    return get_session().create_client(service, config=patience)
