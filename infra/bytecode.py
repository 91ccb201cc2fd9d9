"""Modules compiled beforehand: where artifacts are unpacked nothing can be written, and each cold start would compile.

The packages' modules stand in their artifact as bytecode alone, for both would make it half as large again; ours have
their sources beside it. Nothing compares the two, and a traceback names file and line as ever.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from infra.packages import BuildError

#: Where Lambda unpacks an artifact.
_TASK = "/var/task/"

_COMPILE = """
import json, platform, py_compile, sys
failed = []
for source, target, name in json.load(sys.stdin):
    try:
        py_compile.compile(source, target, name, doraise=True, optimize=0,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except py_compile.PyCompileError:
        failed.append(target)
json.dump({"python": platform.python_version(), "failed": failed}, sys.stdout)
"""


def interpreter(python: str) -> str | None:
    """The Python that compiles for this one, such as 3.13; None: this machine has none."""
    if python == ".".join(map(str, sys.version_info[:2])):
        return sys.executable
    found = shutil.which(f"python{python}")
    if found is None:
        return None
    # What manages many Pythons has a command for each, which may be there although its Python is not.
    asked = subprocess.run(
        [found, "-c", "import sys; print(*sys.version_info[:2], sep='.')"], capture_output=True, text=True, check=False
    )
    return found if asked.stdout.strip() == python else None


def compile_all(sources: Mapping[str, Path], program: str, folder: Path) -> tuple[str, dict[str, Path]]:
    """The exact version of the Python that compiled, and the bytecode of each source that can be compiled, by its name.

    Raises:
        BuildError: that Python does not work.
    """
    made = {name: folder / f"{number}.pyc" for number, name in enumerate(sorted(sources))}
    told = [(str(sources[name]), str(path), _TASK + name) for name, path in made.items()]
    # Isolated and with one seed: the same sources are compiled to the same bytes.
    done = subprocess.run(
        [program, "-S", "-s", "-P", "-c", _COMPILE],
        input=json.dumps(told),
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"{program} cannot compile: {(done.stderr.splitlines() or ['it says nothing'])[-1]}")
    answer = json.loads(done.stdout)
    failed = set(answer["failed"])
    return answer["python"], {name: path for name, path in made.items() if str(path) not in failed}


def beside(name: str, python: str) -> str:
    """Where the bytecode of a module is that has its source beside it."""
    path = PurePosixPath(name)
    return str(path.parent / "__pycache__" / f"{path.stem}.cpython-{python.replace('.', '')}.pyc")


def instead(name: str) -> str:
    """Where the bytecode of a module is that has no source."""
    return f"{name}c"
