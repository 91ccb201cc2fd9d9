"""Runs the tests that watch a server on each major version of PostgreSQL: one line a version.

`python -m tests.matrix [--only MAJOR]… [ARGUMENTS OF PYTEST]`. A version that cannot be had here is skipped, and that
is said. What hardly depends on the version runs on the oldest alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.matrix.servers import LOCKS, UnavailableError, installation

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", metavar="MAJOR", type=int, choices=LOCKS, action="append", default=[])
    chosen, arguments = parser.parse_known_args()
    failed, skipped = [], []
    majors = chosen.only or sorted(LOCKS)
    for major in majors:
        try:
            place = installation(major)
        except UnavailableError as error:
            say(f"PostgreSQL {major}: SKIPPED, {error}")
            skipped.append(major)
            continue
        code, output = tested(place, "watched" if major == min(LOCKS) else "watched and not any_version", arguments)
        if code:
            say(output)
            failed.append(major)
        say(f"PostgreSQL {place.name}: {output.strip().splitlines()[-1].strip('= ')}")
    if skipped:
        say(f"WARNING: {len(skipped)} of {len(majors)} versions of PostgreSQL were not tested: {spelled(skipped)}")
    if failed:
        say(f"failed on PostgreSQL {spelled(failed)}")
    return 1 if failed else 0


def tested(place: Path, which: str, arguments: list[str]) -> tuple[int, str]:
    """Exit code and output of the tests with these marks on that installation."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", which, f"--postgresql={place}", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return done.returncode, done.stdout


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def spelled(majors: list[int]) -> str:
    return ", ".join(map(str, majors))


if __name__ == "__main__":
    sys.exit(main())
