"""`make bench`: runs the benchmarks, or those that are named (`make bench ARGS=cycle`)."""

from __future__ import annotations

import argparse
import sys

from benchmarks import agent, cold, cycle, fleet, growth, load, polling, quiet, releases, scaling, versions

BENCHMARKS = {
    "cycle": cycle.main,
    "agent": agent.main,
    "relations": agent.relations,
    "load": load.main,
    "fleet": fleet.main,
    "polling": polling.main,
    "growth": growth.main,
    "quiet": quiet.main,
    "releases": releases.main,
    "scaling": scaling.main,
    "versions": versions.main,
    "cold": cold.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"{', '.join(BENCHMARKS)}; all of them, if none is named")
    for name in parser.parse_args().name or BENCHMARKS:
        if name not in BENCHMARKS:
            sys.exit(f"there is no benchmark {name}; there are {', '.join(BENCHMARKS)}")
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
