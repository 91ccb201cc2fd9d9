"""Failed logins slow the next ones: of the same account from the same address, and of the address whatever account.

An address is an IPv4 address or the /64 of an IPv6 one. Whoever fails elsewhere slows nobody here. Names are counted by
their hashes: any text is one, and some are passwords in the wrong field.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from functions.addresses import network
from functions.store import Connection

#: So many failures cost nothing; each one after them doubles the wait, up to the longest.
FREE_OF_PAIR, FREE_OF_ADDRESS = 5, 20
MAX_WAIT_SECONDS = 900

#: After so long without a failure, those before count no more.
FORGOTTEN = timedelta(days=1)

#: The account of the row that counts an address by itself: no account is called so.
_ANY = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that may go on. It counts as failed already, so that many at once are no way past the limits.

    `unexamined` is how many were slowed down since the attempt before.
    """

    account: str
    network: str
    at: datetime
    address_before_at: datetime
    pair_before_at: datetime
    unexamined: int


@dataclass(frozen=True, slots=True)
class Slowed:
    """An attempt that comes too early, by so many seconds; `first` since the attempt that may go on."""

    seconds: int
    first: bool


@dataclass(frozen=True, slots=True)
class _Count:
    failures: int
    last_at: datetime
    slowed: int

    def seconds(self, free: int, now: datetime) -> int:
        """How long is to be waited yet."""
        wait = timedelta(seconds=wait_seconds(self.failures, free))
        left = (self.last_at + wait - now).total_seconds()
        return min(max(0, math.ceil(left)), MAX_WAIT_SECONDS)


def wait_seconds(failures: int, free: int) -> int:
    """How long after the last of so many failures the next attempt may come."""
    if failures < free:
        return 0
    return min(1 << min(failures - free, 30), MAX_WAIT_SECONDS)


def hashed(name: str) -> str:
    """What an account's failures are counted under."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]


def begin(connection: Connection, name: str, address: str, now: datetime) -> Attempt | Slowed:
    """Let an attempt go on, counted as failed until `succeeded` or `abandoned` tell otherwise; or slow it down."""
    account, place = hashed(name), network(address)
    # The address first, always: two that lock the same rows do so in the same order.
    of_address = _locked(connection, _ANY, place, now)
    if seconds := of_address.seconds(FREE_OF_ADDRESS, now):
        _slow(connection, _ANY, place)
        return Slowed(seconds, of_address.slowed == 0)
    of_pair = _locked(connection, account, place, now)
    if seconds := of_pair.seconds(FREE_OF_PAIR, now):
        _slow(connection, account, place)
        return Slowed(seconds, of_pair.slowed == 0)
    for counted, count in ((_ANY, of_address), (account, of_pair)):
        connection.execute(
            """
            update identity.failure set failures = %s, last_at = greatest(%s, last_at), slowed = 0
            where account = %s and address = %s
            """,
            (count.failures + 1, now, counted, place),
        )
    return Attempt(account, place, now, of_address.last_at, of_pair.last_at, of_address.slowed + of_pair.slowed)


def succeeded(connection: Connection, attempt: Attempt) -> None:
    """Forget the failures of this account from this address; those of the address stand, without this attempt."""
    _take_back(connection, attempt, _ANY, attempt.address_before_at)
    connection.execute(
        "delete from identity.failure where account = %s and address = %s", (attempt.account, attempt.network)
    )


def abandoned(connection: Connection, attempt: Attempt) -> None:
    """Count an attempt no more that nobody could examine."""
    _take_back(connection, attempt, _ANY, attempt.address_before_at)
    _take_back(connection, attempt, attempt.account, attempt.pair_before_at)


def _locked(connection: Connection, account: str, place: str, now: datetime) -> _Count:
    row = connection.execute(
        """
        insert into identity.failure as f (account, address, failures, last_at) values (%s, %s, 0, %s)
        on conflict (account, address) do update set failures = f.failures
        returning failures, last_at, slowed
        """,
        (account, place, now),
    ).fetchone()
    assert row is not None
    count = _Count(*row)
    return count if now - count.last_at < FORGOTTEN else _Count(0, count.last_at, count.slowed)


def _slow(connection: Connection, account: str, place: str) -> None:
    connection.execute(
        "update identity.failure set slowed = slowed + 1 where account = %s and address = %s", (account, place)
    )


def _take_back(connection: Connection, attempt: Attempt, account: str, before_at: datetime) -> None:
    connection.execute(
        """
        update identity.failure
        set failures = greatest(failures - 1, 0), last_at = case when last_at = %s then %s else last_at end
        where account = %s and address = %s
        """,
        (attempt.at, before_at, account, attempt.network),
    )
