"""`pganalytics token`: access tokens, made where the keys are."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from cli.durations import seconds
from cli.ending import fail
from cli.keys import KeysFile
from contracts.claims import CLAIMS, ISSUER, TOKEN_SECONDS, Audience

app = typer.Typer(help="Make access tokens, on the server that has the keys.", no_args_is_help=True)

_MAX_TTL_DAYS = 90

RoleName = Literal["viewer", "operator", "admin"]


@app.callback()
def token() -> None:
    """Make access tokens, on the server that has the keys."""


@app.command()
def issue(
    keys_file: KeysFile,
    agent: Annotated[str | None, typer.Option(help="The agent's id.")] = None,
    operator: Annotated[str | None, typer.Option(help="The operator's name.")] = None,
    role: Annotated[RoleName | None, typer.Option(help="What the operator may do.")] = None,
    ttl: Annotated[
        str, typer.Option(help="How long it is good for, such as 90s, 15m, 12h, 7d.")
    ] = f"{TOKEN_SECONDS // 60}m",
) -> None:
    """Print an access token, and nothing else, for one agent or one operator."""
    from functions.authorizer.keys import KeysError, load
    from functions.authorizer.tokens import issue as sign

    if (agent is None) == (operator is None):
        fail("give either --agent or --operator")
    if (operator is None) != (role is None):
        fail("--role: an operator has one, an agent has none")
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": ISSUER,
        "iat": now,
        "nbf": now,
        "exp": now + seconds("--ttl", ttl, at_most_days=_MAX_TTL_DAYS),
        "jti": secrets.token_hex(16),
    }
    if agent is None:
        claims |= {"aud": Audience.OPERATOR, "sub": operator, "scope": role}
    else:
        claims |= {"aud": Audience.AGENT, "sub": agent}
    try:
        typer.echo(sign(CLAIMS.validate_python(claims), load(keys_file)))
    except ValidationError:
        given = "--operator" if agent is None else "--agent"
        fail(f"{given}: a name is 1 to 64 lower case letters, digits and . _ -; its ends are letters or digits")
    except KeysError as error:
        fail(f"--keys-file {error}")
