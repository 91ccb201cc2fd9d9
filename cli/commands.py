"""Commands that are imported where they are called: `pganalytics agents` waits for no driver of PostgreSQL."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

#: Where each command is, in the order of the help: a function, or a `Typer` with commands of its own.
PLACES = {
    "serve": "cli.serve:serve",
    "demo": "cli.demo.command:demo",
    "migrate": "cli.migrate:migrate",
    "replay": "cli.replay:replay",
    "maintain": "cli.maintain:maintain",
    "keys": "cli.keys:app",
    "authority": "cli.authority:app",
    "enrolment": "cli.enrolment:app",
    "token": "cli.tokens:app",
    "login": "cli.login:login",
    "logout": "cli.login:logout",
    "users": "cli.users:app",
    "audit": "cli.audit:audit",
    "config": "cli.config.command:app",
    "release": "cli.releases:app",
    "agents": "cli.agents:app",
    "targets": "cli.client:targets",
    "version": "cli.version:version",
}


class _Imported(UserDict[str, object]):
    """The commands by their names: a place until it is looked up, and then the command."""

    def __getitem__(self, name: str) -> object:
        found = super().__getitem__(name)
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = self.data[name] = _command(name, getattr(import_module(module), attribute))
        return found


def _command(name: str, made: Callable[..., object]) -> object:
    if isinstance(made, typer.Typer):
        command = get_group(made)
        command.name = name
        return command
    alone = typer.Typer(add_completion=False)
    alone.command(name)(made)
    return get_command(alone)


class Commands(TyperGroup):
    """All that `pganalytics` can do."""

    def __init__(self, **given: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(**given | {"commands": _Imported(PLACES)})
