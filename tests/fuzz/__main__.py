"""Fuzzes one target: `python -m tests.fuzz batch -max_total_time=600 CORPUS`; the options are libFuzzer's."""

from __future__ import annotations

import logging
import sys

import atheris


def main() -> None:
    target = sys.argv.pop(1)
    # Ours only: what is compiled cannot be, and pydantic's Python would cost more than it tells.
    with atheris.instrument_imports(include=["contracts", "functions"]):
        from tests.fuzz.targets import TARGETS
    logging.disable(logging.CRITICAL)
    atheris.Setup(sys.argv, TARGETS[target].ready())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
