"""Says as JSON what this Python is and which environments are complete below the folder given; fails if it cannot."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(f"it is {sys.version.split()[0]}")

import ensurepip  # noqa: F401
import json
import venv  # noqa: F401
from pathlib import Path

complete = [str(mark.parent) for mark in Path(sys.argv[1]).glob("environments/*/complete")]
json.dump({"tag": sys.implementation.cache_tag, "complete": complete}, sys.stdout)
