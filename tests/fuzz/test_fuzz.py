"""A short fuzz of whatever reads what strangers send; `PGANALYTICS_FUZZ_SECONDS=600` makes it a long one."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_worse_than_a_refusal(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris is made for Linux on x86_64 only")
    seconds = os.environ.get("PGANALYTICS_FUZZ_SECONDS")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for seed in TARGETS[name].seeds():
        (corpus / hashlib.sha256(seed).hexdigest()).write_bytes(seed)
    bound = [f"-max_total_time={seconds}"] if seconds else ["-runs=20000", "-max_total_time=3"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, *bound, f"-artifact_prefix={tmp_path}/", "-timeout=20", corpus],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60 + int(seconds or 0),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    ran = re.search(r"^Done ([0-9]+) runs", done.stderr, re.MULTILINE)
    assert ran, done.stderr[-2000:]
    assert int(ran[1]) > 50
