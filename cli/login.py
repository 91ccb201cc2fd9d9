"""`pganalytics login` and `logout`: the session that other commands use."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.api import Api, ApiError
from cli.client import Ca, asking
from cli.ending import FAILED, fail
from cli.passwords import PasswordFile, password
from cli.session import Session, SessionFile, granted


def login(
    server: Annotated[str, typer.Option(envvar="PGANALYTICS_SERVER", help="URL of the server.")],
    user: Annotated[str, typer.Option(help="Name of the operator.")],
    ca: Ca = None,
    password_file: PasswordFile = None,
) -> None:
    """Log in: later commands of this account need neither --server nor a token, for 30 days at most.

    The session is kept in $XDG_STATE_HOME/pganalytics or ~/.local/state/pganalytics, for this account only.
    """
    server, ca = server.rstrip("/"), ca.absolute() if ca else None
    file = SessionFile.of_this_account()
    with asking():
        api = Api(server, None, ca)
        secret = password(password_file, f"Password of {user}", twice=False)
        answer = api.change("POST", "/v1/auth/login", {"name": user, "password": secret.get_secret_value()})
        session = granted(server, answer)
        with file.locked():
            file.write(Session.granted(server, ca, session))
    typer.echo(f"logged in to {server} as {session.name} ({session.role})")


def logout() -> None:
    """End the session of the login, here and at its server."""
    file = SessionFile.of_this_account()
    with asking(), file.locked():
        session = file.read()
        if session is None:
            typer.echo("nobody is logged in")
            return
        # First here: what happens to the server, this account is logged out.
        file.remove()
        body = {"refresh_token": session.refresh.get_secret_value()}
        try:
            Api(session.server, None, session.ca).change("POST", "/v1/auth/logout", body)
        except ApiError as error:
            fail(f"logged out here, but the server was not told, where the session ends within 7 days: {error}", FAILED)
    typer.echo(f"logged out of {session.server}")
