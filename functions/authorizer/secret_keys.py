"""Keys where they stand in Secrets Manager, with the text that a file of them has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from aws_lambda_powertools import Logger

from functions.authorizer.keys import Keys, KeysError, parse
from functions.authorizer.private_file import CredentialsError
from functions.secret import SecretError, SecretUnavailableError, read_secret

#: How often a secret is read again, and how long what was read of it stands while that fails.
AGAIN_SECONDS = 300.0
STAND_SECONDS = 3600.0

#: How often it is read again for a token whose key is not among those read.
UNKNOWN_SECONDS = 10.0

T = TypeVar("T")

logger = Logger(service="pganalytics")


class SecretValue(Generic[T]):
    """What a secret of Secrets Manager says, read again every five minutes.

    While Secrets Manager fails the last reading stands, for an hour. A secret that is gone, forbidden or broken opens
    nothing from the next reading on: that is how keys are taken away.
    """

    def __init__(self, name: str, parse: Callable[[bytes, str], T], failed: type[CredentialsError]) -> None:
        self._name = name
        self._parse = parse
        self._failed = failed
        self._value: T | None = None
        self._read_at = self._asked_at = 0.0

    def load(self, now: float, patience: float = AGAIN_SECONDS) -> T:
        """What it says, as it was read less than `patience` seconds ago.

        Raises:
            CredentialsError: of the kind this was made with; it cannot be read, and nothing read before may stand.
        """
        if self._value is None or now - self._asked_at >= patience:
            self._asked_at = now
            try:
                self._value = self._parse(read_secret(self._name).encode(), f"secret {self._name}")
                self._read_at = now
            except (SecretError, CredentialsError) as error:
                outage = isinstance(error, SecretUnavailableError) and now - self._read_at < STAND_SECONDS
                if self._value is None or not outage:
                    self._value = None
                    raise self._failed(str(error)) from error
                logger.warning("the secret as it was stands", extra={"reason": str(error)})
        return self._value


class SecretKeys(SecretValue[Keys]):
    """The keys of access tokens in a secret."""

    def __init__(self, name: str) -> None:
        super().__init__(name, parse, KeysError)
