"""Counts the faults that were survived, over all workers, and tells of them in one line at the end of a run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

_PROPERTY = "fault survived"


@dataclass(frozen=True)
class Survived:
    """What a test did to the system; it counts once the test has passed."""

    item: pytest.Item

    def count(self, fault: str, times: int = 1) -> None:
        self.item.user_properties.append((_PROPERTY, f"{times} {fault}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    faults: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == _PROPERTY:
                times, _, fault = str(value).partition(" ")
                faults[fault] += int(times)
    if faults:
        each = ", ".join(f"{fault} {times}" for fault, times in faults.most_common())
        terminalreporter.write_line(f"faults survived: {faults.total()} ({each})")
