"""The keys of access tokens where they stand in Secrets Manager, with the text that a file of keys has."""

from __future__ import annotations

from aws_lambda_powertools import Logger

from functions.authorizer.keys import Keys, KeysError, parse
from functions.secret import SecretError, SecretUnavailableError, read_secret

#: How often the secret is read again, and how long what was read of it stands while that fails.
AGAIN_SECONDS = 300.0
STAND_SECONDS = 3600.0

logger = Logger(service="pganalytics")


class SecretKeys:
    """The keys in a secret of Secrets Manager, read again every five minutes.

    While Secrets Manager fails the last ones stand, for an hour. A secret that is gone, forbidden or broken opens
    nothing from the next reading on: that is how keys are taken away.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._keys: Keys | None = None
        self._read_at = self._asked_at = 0.0

    def load(self, now: float) -> Keys:
        """The keys.

        Raises:
            KeysError: they cannot be read, and none read before may stand.
        """
        if self._keys is None or now - self._asked_at >= AGAIN_SECONDS:
            self._asked_at = now
            try:
                self._keys = parse(read_secret(self._name).encode(), f"secret {self._name}")
                self._read_at = now
            except (SecretError, KeysError) as error:
                outage = isinstance(error, SecretUnavailableError) and now - self._read_at < STAND_SECONDS
                if self._keys is None or not outage:
                    self._keys = None
                    raise KeysError(str(error)) from error
                logger.warning("the keys before stand", extra={"reason": str(error)})
        return self._keys
