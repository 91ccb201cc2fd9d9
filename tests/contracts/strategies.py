"""Hypothesis strategies: valid frames of any metric of the catalogue, runs, gaps and whole batches."""

from __future__ import annotations

import sys
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from contracts.batch import Batch, Clock, Columns, Config, ConfigState, Frame, Gap, GapReason, Mode, Run, Status
from contracts.limits import BIGINT_MAX, BIGINT_MIN, INSTANT_MAX, MAX_SEQ, OID_MAX
from contracts.metrics import METRICS, Metric, Scope, Type
from contracts.names import HOST_TARGET

#: All that PostgreSQL and JSON can both hold: any character except NUL and lone surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
bigints = st.sampled_from([BIGINT_MIN, -1, 0, BIGINT_MAX]) | st.integers(BIGINT_MIN, BIGINT_MAX)
counts = st.sampled_from([0, 1, BIGINT_MAX]) | st.integers(0, BIGINT_MAX)
oids = st.sampled_from([0, 1, OID_MAX]) | st.integers(0, OID_MAX)
instants = st.sampled_from([0, INSTANT_MAX]) | st.integers(0, INSTANT_MAX)
floats = st.sampled_from([0.0, -sys.float_info.max, sys.float_info.min]) | st.floats(
    allow_nan=False, allow_infinity=False
)
words = st.from_regex(r"[a-z][a-z0-9_]{0,62}", fullmatch=True)
names = st.from_regex(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?", fullmatch=True)
targets = names.filter(lambda name: name != HOST_TARGET)
etags = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=100)

VALUES: dict[Type, st.SearchStrategy[Any]] = {
    Type.BIGINT: bigints,
    Type.OID: oids,
    Type.TIMESTAMP: instants,
    Type.FLOAT: floats | st.integers(-(2**53), 2**53),
    Type.TEXT: texts,
    Type.BOOLEAN: st.booleans(),
}


@st.composite
def key_columns(draw: st.DrawFn, metric: Metric, max_rows: int = 4) -> Columns:
    """The columns of a metric's key, with rows that differ."""
    cells = st.tuples(*(VALUES[metric.by_name[name].type] for name in metric.key))
    rows = draw(st.lists(cells, max_size=max_rows, unique=True))
    return {name: [row[index] for row in rows] for index, name in enumerate(metric.key)}


@st.composite
def columns(draw: st.DrawFn, metric: Metric, max_rows: int = 4) -> Columns:
    """Columns of a metric; some are left out, as an older agent does that does not know them."""
    found = draw(key_columns(metric, max_rows)) if metric.key else {}
    length = len(found[metric.key[0]]) if metric.key else draw(st.integers(0, 1))
    left_out = draw(st.sets(st.sampled_from(metric.names), max_size=3))
    for column in metric.columns:
        only_one = not found and column is metric.columns[-1]
        if column.name not in metric.key and (column.name not in left_out or only_one):
            cells = st.none() | VALUES[column.type]
            found[column.name] = draw(st.lists(cells, min_size=length, max_size=length))
    return found


@st.composite
def frames(draw: st.DrawFn, of: st.SearchStrategy[Metric] | None = None) -> Frame:
    """A valid frame; of any metric, unless told otherwise."""
    metric = draw(of if of is not None else st.sampled_from(METRICS))
    mode = draw(st.sampled_from(Mode)) if metric.changes else Mode.FULL
    return Frame(
        metric=metric.name,
        target=HOST_TARGET if metric.scope is Scope.HOST else draw(targets),
        datid=draw(oids) if metric.scope is Scope.DATABASE else None,
        collected_at=draw(instants),
        epoch=draw(bigints) if metric.counters else None,
        mode=mode,
        columns=draw(columns(metric)),
        gone=draw(st.none() | key_columns(metric)) if mode is Mode.CHANGED else None,
    )


runs: st.SearchStrategy[Run] = st.builds(
    Run,
    collector=words,
    target=names,
    datid=st.none() | oids,
    started_at=instants,
    duration_us=counts,
    status=st.sampled_from(Status),
    sqlstate=st.none() | st.from_regex(r"[0-9A-Z]{5}", fullmatch=True),
    rows=counts,
    rows_available=st.none() | counts,
    detail=st.none() | texts,
)

gaps: st.SearchStrategy[Gap] = st.builds(
    Gap,
    reason=st.sampled_from(GapReason),
    from_at=instants,
    until_at=instants,
    target=st.none() | names,
    collector=st.none() | words,
    batches=counts,
    detail=st.none() | texts,
)

stream_ids: st.SearchStrategy[UUID] = st.uuids()
seqs = st.sampled_from([0, 1, MAX_SEQ]) | st.integers(0, MAX_SEQ)

batches: st.SearchStrategy[Batch] = st.builds(
    Batch,
    agent_id=names,
    stream_id=stream_ids,
    seq=seqs,
    sent_at=instants,
    agent_version=st.from_regex(r"[0-9A-Za-z.+-]{1,50}", fullmatch=True),
    config=st.builds(
        Config,
        version=counts,
        etag=st.none() | etags,
        state=st.sampled_from(ConfigState),
        reason=st.none() | texts,
    ),
    clock=st.builds(Clock, skew_us=st.none() | bigints),
    frames=st.lists(frames(), max_size=3).map(tuple),
    runs=st.lists(runs, max_size=2).map(tuple),
    gaps=st.lists(gaps, max_size=2).map(tuple),
)
