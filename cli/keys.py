"""`pganalytics keys`: the file with the keys that sign access tokens."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from cli.ending import fail

app = typer.Typer(help="Make the keys that sign access tokens.", no_args_is_help=True)

KeysFile = Annotated[Path, typer.Option("--keys-file", envvar="PGANALYTICS_KEYS_FILE", help="JWK Set with the keys.")]


@app.callback()
def keys() -> None:
    """Make the keys that sign access tokens."""


@app.command()
def create(keys_file: KeysFile) -> None:
    """Write a new file with a key that signs and the next one, for this account only. A file that is there stays."""
    from functions.authorizer.keys import dump
    from functions.authorizer.rotation import fresh

    write_new("--keys-file", keys_file, dump(fresh(int(time.time()))) + "\n", "tokens may hang on it")


@app.command()
def rotate(
    keys_file: KeysFile,
    *,
    at_once: Annotated[
        bool,
        typer.Option(
            "--at-once", help="A key is in the wrong hands: make new ones, drop all others. Every token ends with it."
        ),
    ] = False,
) -> None:
    """Let the next key sign, drop the one before the last, and make a new next one. Tokens stay good.

    Not more often than every 20 minutes, so that no token that is still good loses its key.
    """
    from functions.authorizer.keys import KeysError, dump, load
    from functions.authorizer.private_file import replace
    from functions.authorizer.rotation import TooSoonError, fresh
    from functions.authorizer.rotation import rotate as turn

    now = int(time.time())
    try:
        before = load(keys_file)
        after = fresh(now) if at_once else turn(before, now)
        replace(keys_file, dump(after) + "\n")
    except KeysError as error:
        fail(f"--keys-file {error}")
    except TooSoonError as error:
        fail(
            f"--keys-file {keys_file}: was rotated within the last 20 minutes; tokens would lose their key. "
            f"Wait {error.seconds} s, or give --at-once if a key is in the wrong hands"
        )
    except OSError as error:
        fail(f"--keys-file {keys_file}: {error.strerror}")
    dropped = len({key.kid for key in before.all} - {key.kid for key in after})
    typer.echo(f"wrote {keys_file}: {after[0].kid} signs, {after[1].kid} is next, {dropped} dropped", err=True)


def write_new(option: str, file: Path, text: str, hangs: str) -> None:
    """Write a file that only this account can read, or end the command: what is there stays, and what `hangs` on it."""
    from functions.authorizer.private_file import create as write

    try:
        write(file, text)
    except FileExistsError:
        fail(f"{option} {file}: is there already, and {hangs}; move it away or name another")
    except OSError as error:
        fail(f"{option} {file}: {error.strerror}")
    typer.echo(f"wrote {file}", err=True)
