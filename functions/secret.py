"""Secrets where they stand: in a file that only its owner reads, or in Secrets Manager under a name."""

from __future__ import annotations

import os
import stat
from http import HTTPStatus
from pathlib import Path

#: systemd's folder of a service's credentials (systemd.exec(5), LoadCredential=).
CREDENTIALS = "CREDENTIALS_DIRECTORY"

#: No secret is longer.
MAX_BYTES = 64 * 1024


class SecretError(Exception):
    """A secret cannot be read; the message names it and what to mend, and shows nothing of it."""


class SecretUnavailableError(SecretError):
    """Not now: Secrets Manager fails or does not answer, and says nothing of the secret."""


def read_secret_file(path: Path) -> str:
    """The text in a file, without the line break at its end.

    Raises:
        SecretError: there is no such file, others can read it, or it is not a short text.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}") from error
    if open_to_others(path, mode):
        raise SecretError(f"{path}: others than its owner can read or write it; chmod 600 it, and change the secret")
    if len(content) > MAX_BYTES:
        raise SecretError(f"{path}: more than {MAX_BYTES} bytes; is it another file?")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretError(f"{path}: not a text file") from None


def open_to_others(path: Path, mode: int) -> bool:
    """Whether others than its owner may use a file of this mode."""
    # Who may read its credentials systemd says by access lists, which show as the mode of a group.
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO)) and str(path.parent) != os.environ.get(CREDENTIALS)


def credential(name: str) -> Path | None:
    """The file of one of systemd's credentials, if this process was given it."""
    folder = os.environ.get(CREDENTIALS)
    file = Path(folder, name) if folder else None
    return file if file is not None and file.exists() else None


def read_secret(name: str) -> str:
    """The text of a secret, by its name or ARN, with the ambient credentials.

    Raises:
        SecretUnavailableError: Secrets Manager fails or does not answer.
        SecretError: it does not exist, has no text, or may not be read.
    """
    # Only here: where the environment has the values themselves, nobody waits for the SDK to be imported.
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    from functions import sdk

    # API Gateway waits 10 seconds for the authorizer.
    patience = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "max_attempts": 2})
    try:
        found = sdk.client("secretsmanager", patience).get_secret_value(SecretId=name, VersionStage="AWSCURRENT")
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or "Throttl" in code:
            raise SecretUnavailableError(f"secret {name}: Secrets Manager answered {code}") from error
        message = f"secret {name}: Secrets Manager answered {code}; put a value, and allow its reading"
        raise SecretError(message) from error
    except BotoCoreError as error:
        message = f"secret {name}: Secrets Manager cannot be reached: {type(error).__name__}"
        raise SecretUnavailableError(message) from error
    if "SecretString" not in found:
        raise SecretError(f"secret {name}: its value is binary; put a text")
    text: str = found["SecretString"]
    return text
