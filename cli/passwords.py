"""Where a command learns a password: from a prompt, or from a file; never from its command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from cli.ending import fail

PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", help="File with the password, `-` for standard input. Without it, it is asked for."
    ),
]


def password(file: Path | None, prompt: str, *, twice: bool, option: str = "--password-file") -> SecretStr:
    """The password in the file, but for the end of its line; or from a prompt. Ends the command if there is none."""
    if file is not None:
        return _content(file, option)
    if not sys.stdin.isatty():
        fail(f"{option}: there is no terminal to ask at; give a file, or - for standard input")
    return SecretStr(typer.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True))


def _content(file: Path, option: str) -> SecretStr:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{option} {file}: {getattr(error, 'strerror', None) or 'not a text'}")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        fail(f"{option} {file}: is empty")
    return SecretStr(text)
