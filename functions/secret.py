"""Secrets of Secrets Manager: a function's environment has their names, never their values."""

from __future__ import annotations

from http import HTTPStatus


class SecretError(Exception):
    """A secret cannot be read; the message names it and what to mend, and shows nothing of it."""


class SecretUnavailableError(SecretError):
    """Not now: Secrets Manager fails or does not answer, and says nothing of the secret."""


def read_secret(name: str) -> str:
    """The text of a secret, by its name or ARN, with the ambient credentials.

    Raises:
        SecretUnavailableError: Secrets Manager fails or does not answer.
        SecretError: it does not exist, has no text, or may not be read.
    """
    # Only here: where the environment has the values themselves, nobody waits for the SDK to be imported.
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    # API Gateway waits 10 seconds for the authorizer.
    patience = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "max_attempts": 2})
    try:
        found = boto3.client("secretsmanager", config=patience).get_secret_value(SecretId=name)
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or "Throttl" in code:
            raise SecretUnavailableError(f"secret {name}: Secrets Manager answered {code}") from error
        raise SecretError(
            f"secret {name}: Secrets Manager answered {code}; put a value, and allow its reading"
        ) from error
    except BotoCoreError as error:
        message = f"secret {name}: Secrets Manager cannot be reached: {type(error).__name__}"
        raise SecretUnavailableError(message) from error
    if "SecretString" not in found:
        raise SecretError(f"secret {name}: its value is binary; put a text")
    text: str = found["SecretString"]
    return text
