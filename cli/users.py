"""`pganalytics users`: operators' accounts. The first admin is made beside the store, all others through the API."""

from __future__ import annotations

import os
import pwd
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from pydantic import SecretStr, ValidationError

from cli.client import AsJson, Ca, Column, Server, TokenFile, ago, asking, connect, show
from cli.dsn import DsnFile, store_dsn
from cli.ending import FAILED, fail
from cli.passwords import PasswordFile, password
from cli.tokens import RoleName

app = typer.Typer(help="Operators' accounts: who may log in, and what they may do.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the user.")]

USERS = (
    Column("name", "name"),
    Column("role", "role"),
    Column("last login", "last_login_at", ago),
    Column("disabled", "disabled_at", ago),
    Column("made", "created_at", ago),
    Column("by", "created_by"),
)


@app.callback()
def users() -> None:
    """Operators' accounts: who may log in, and what they may do."""


@app.command()
def create(
    name: Name,
    role: Annotated[RoleName | None, typer.Option(help="What the user may do.")] = None,
    password_file: PasswordFile = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    store_dsn_file: DsnFile = None,
    *,
    admin: Annotated[
        bool, typer.Option("--admin", help="Make an admin straight in the store, which needs its connection string.")
    ] = False,
) -> None:
    """Make a user. The first one with --admin, beside the store; then, as an admin, with --role."""
    if admin == (role is not None):
        fail("give either --role, or --admin to make an admin straight in the store")
    if admin:
        dsn = store_dsn(store_dsn_file)
        _create_admin(dsn, name, password(password_file, f"Password of {name}", twice=True))
        typer.echo(f"made {name} (admin)")
        return
    with asking():
        api = connect(server, token_file, ca)
        secret = password(password_file, f"Password of {name}", twice=True)
        body = {"name": name, "role": role, "password": secret.get_secret_value()}
        api.change("POST", "/v1/users", body)
    typer.echo(f"made {name} ({role})")


def _create_admin(dsn: SecretStr, name: str, secret: SecretStr) -> None:
    from contracts.identity import UserAsked
    from functions.authorizer.operators import Actor, OperatorRefusedError, create
    from functions.authorizer.passwords import passwords
    from functions.store import Store, StoreUnavailableError

    store = Store(dsn, "pganalytics users")
    try:
        asked = UserAsked(name=name, role="admin", password=secret)
        create(store, passwords(), asked, Actor("command", _account()), datetime.now(UTC))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        fail(f"{first['loc'][0]}: {first['msg']}")
    except OperatorRefusedError as error:
        fail(f"{error}; choose another name, or change that one with its commands")
    except StoreUnavailableError as error:
        fail(str(error), FAILED)
    finally:
        store.close()


def _account() -> str:
    # Not what the environment says: whoever has the store's connection string is to stand in the log as who they are.
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


@app.command("list")
def list_(server: Server = None, token_file: TokenFile = None, ca: Ca = None, *, as_json: AsJson = False) -> None:
    """List the users."""
    show(server, token_file, ca, "/v1/users", USERS, as_json=as_json)


@app.command()
def disable(name: Name, server: Server = None, token_file: TokenFile = None, ca: Ca = None) -> None:
    """Let a user in no more. Their sessions end at once, what they have of access tokens within 15 minutes."""
    _change(name, {"disabled": True}, server, token_file, ca)
    typer.echo(f"disabled {name}; every session of theirs has ended")


@app.command()
def enable(name: Name, server: Server = None, token_file: TokenFile = None, ca: Ca = None) -> None:
    """Let a user in again who was disabled."""
    _change(name, {"disabled": False}, server, token_file, ca)
    typer.echo(f"enabled {name}")


@app.command()
def role(
    name: Name,
    role: Annotated[RoleName, typer.Argument(metavar="ROLE", help="viewer, operator or admin.")],
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
) -> None:
    """Give a user another role. Their sessions end; they log in again."""
    _change(name, {"role": role}, server, token_file, ca)
    typer.echo(f"{name} is {role} now")


@app.command("password")
def password_(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the user, by an admin; without it, your own.")
    ] = None,
    password_file: PasswordFile = None,
    old_password_file: Annotated[
        Path | None, typer.Option("--old-password-file", help="File with your own old password.")
    ] = None,
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
) -> None:
    """Change your own password, or another user's. Every session of theirs ends; they log in again."""
    if name is not None and old_password_file is not None:
        fail("--old-password-file: only one's own password needs the old one")
    with asking():
        api = connect(server, token_file, ca)
        if name is None:
            old = password(old_password_file, "Old password", twice=False, option="--old-password-file")
            new = password(password_file, "New password", twice=True)
            body = {"old": old.get_secret_value(), "password": new.get_secret_value()}
            api.change("PUT", "/v1/auth/password", body)
        else:
            new = password(password_file, f"New password of {name}", twice=True)
            api.change("PUT", f"{_path(name)}/password", {"password": new.get_secret_value()})
    typer.echo("the password is changed; every session has ended: log in again")


def _change(name: str, body: dict[str, Any], server: str | None, token_file: Path | None, ca: Path | None) -> None:
    with asking():
        connect(server, token_file, ca).change("PATCH", _path(name), body)


def _path(name: str) -> str:
    return f"/v1/users/{quote(name, safe='@')}"
