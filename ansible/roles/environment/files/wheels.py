"""Lists the wheels in a folder as JSON, each with its SHA-256; a folder that is not there has none."""

import hashlib
import json
import os
import sys
from pathlib import Path

folder = Path(os.path.expandvars(sys.argv[1])).expanduser()
wheels = [
    {"path": str(wheel.resolve()), "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()}
    for wheel in sorted(folder.glob("*.whl"))
]
json.dump(wheels, sys.stdout)
