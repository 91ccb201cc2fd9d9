"""Figures that tests find, over all workers, told at the end of a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_PROPERTY = "figure"


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tells a figure at the end of the run, if the test has passed."""

    def told(line: str) -> None:
        request.node.user_properties.append((_PROPERTY, line))

    return told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == _PROPERTY:
                terminalreporter.write_line(str(value))
