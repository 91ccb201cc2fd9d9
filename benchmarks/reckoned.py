"""What was measured of a host, and all that follows from it: work, bill and limits of fleets of any size."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from benchmarks.costs import Item, Price, bill
from benchmarks.limits import Limit, limits
from benchmarks.measured import Measured
from benchmarks.work import TRANSPORTS, Assumptions, Module, Work, work


@dataclass(frozen=True)
class Reckoned:
    """All that is printed."""

    measured: Measured
    assumptions: Assumptions
    module: Module
    prices: Mapping[str, Price]
    fleets: Sequence[int]

    def work(self, transport: str) -> Work:
        return work(self.measured, self.assumptions, self.module, transport)

    def bill(self, transport: str, hosts: int) -> list[Item]:
        return bill(self.work(transport), hosts, self.assumptions, self.module, self.prices)

    def limits(self, transport: str) -> list[Limit]:
        return limits(self.measured, self.work(transport), self.assumptions, self.module)

    def assuming(self, **changed: float) -> Reckoned:
        return replace(self, assumptions=replace(self.assumptions, **changed))

    def saying(self, **changed: float) -> Reckoned:
        """With other values of the module's variables."""
        return replace(self, module=replace(self.module, defaults={**self.module.defaults, **changed}))

    def as_json(self) -> dict[str, object]:
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "measured": asdict(self.measured),
            "assumed": asdict(self.assumptions),
            "prices": {name: asdict(price) for name, price in self.prices.items()},
            "module": {"memory": dict(self.module.memory), "defaults": dict(self.module.defaults)},
            "host_hour": {each: asdict(self.work(each)) for each in TRANSPORTS},
            "bill": {
                each: {str(hosts): [asdict(item) for item in self.bill(each, hosts)] for hosts in self.fleets}
                for each in TRANSPORTS
            },
            "limits": {each: [asdict(limit) for limit in self.limits(each)] for each in TRANSPORTS},
        }
