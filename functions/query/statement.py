"""The statement that reads a page of one metric's rows, with the names that go with their oids.

Its parameters: target, from, until, limit; datid and relid where they are asked for; after_0, after_1… for the key
that the page follows.
"""

from __future__ import annotations

from psycopg import sql

from contracts.metrics import Type
from functions.query.asked import Asked, Values

_TYPES = {
    Type.BIGINT: sql.SQL("bigint"),
    Type.FLOAT: sql.SQL("double precision"),
    Type.TEXT: sql.SQL("text"),
    Type.BOOLEAN: sql.SQL("boolean"),
    Type.OID: sql.SQL("oid"),
    Type.TIMESTAMP: sql.SQL("timestamp with time zone"),
}

_PAGE = sql.SQL("with page as (select {} from {} where {} order by {} limit %(limit)s)")

# Names are those of the reading before the row. They come in full once an hour, so three hours behind the page have
# them even if a full one was lost; and only those of the page's own oids are looked at.
_RELATIONS = sql.SQL("""
, relations as (
    select n.datid, n.relid, n.schema_name, n.relation_name, n.collected_at as since_at,
        lead(n.collected_at, 1, 'infinity') over (partition by n.datid, n.relid order by n.collected_at) as until_at
    from metric.relation n
    where n.target_id = %(target)s and not n.gone
        and n.collected_at > (select min(collected_at) from page) - interval '3 hours'
        and n.collected_at <= (select max(collected_at) from page)
        and (n.datid, n.relid) in (select datid, {key} from page)
)""")
_JOIN_RELATIONS = sql.SQL("""
left join relations r on r.datid = page.datid and r.relid = page.{key}
    and r.since_at <= page.collected_at and r.until_at > page.collected_at""")

_DATABASES = sql.SQL("""
, databases as (
    select n.datid, n.datname, n.collected_at as since_at,
        lead(n.collected_at, 1, 'infinity') over (partition by n.datid order by n.collected_at) as until_at
    from metric.database n
    where n.target_id = %(target)s and not n.gone
        and n.collected_at > (select min(collected_at) from page) - interval '3 hours'
        and n.collected_at <= (select max(collected_at) from page)
        and n.datid in (select datid from page)
)""")
_JOIN_DATABASES = sql.SQL("""
left join databases d on d.datid = page.datid
    and d.since_at <= page.collected_at and d.until_at > page.collected_at""")


def statement(asked: Asked, *, following: bool) -> sql.Composed:
    """The statement for a page, the first one or one that follows another."""
    parts = [
        _PAGE.format(
            sql.SQL(", ").join(_column(name) for name in asked.columns),
            _source(asked),
            sql.SQL(" and ").join(_conditions(asked, following=following)),
            sql.SQL(", ").join(sql.Identifier(name) for name, _ in asked.order),
        )
    ]
    selected, joins = [sql.SQL("page.*")], []
    if asked.relation_key is not None and "relation_name" not in asked.columns:
        key = sql.Identifier(asked.relation_key)
        parts.append(_RELATIONS.format(key=key))
        selected.append(sql.SQL("r.schema_name, r.relation_name"))
        joins.append(_JOIN_RELATIONS.format(key=key))
    if "datid" in asked.columns and "datname" not in asked.columns:
        parts.append(_DATABASES.format())
        selected.append(sql.SQL("d.datname"))
        joins.append(_JOIN_DATABASES.format())
    order = sql.SQL(", ").join(sql.Identifier("page", name) for name, _ in asked.order)
    return sql.SQL("{}\nselect {} from page{}\norder by {}").format(
        sql.Composed(parts), sql.SQL(", ").join(selected), sql.Composed(joins), order
    )


def _column(name: str) -> sql.Composable:
    # An epoch is a number of 64 bits, of which only equality means something: a string survives every JSON parser.
    return sql.SQL("epoch::text as epoch") if name == "epoch" else sql.Identifier(name)


def _source(asked: Asked) -> sql.Composable:
    if asked.values is Values.RAW:
        return sql.Identifier("metric", asked.metric.name)
    return sql.SQL("{}(%(target)s, %(from)s, %(until)s)").format(sql.Identifier("delta", asked.metric.name))


def _conditions(asked: Asked, *, following: bool) -> list[sql.Composable]:
    conditions: list[sql.Composable] = [
        sql.SQL("target_id = %(target)s and collected_at > %(from)s and collected_at <= %(until)s")
    ]
    if asked.datid is not None:
        conditions.append(sql.SQL("datid = %(datid)s::oid"))
    if asked.relid is not None and asked.relation_key is not None:
        conditions.append(sql.SQL("{} = %(relid)s::oid").format(sql.Identifier(asked.relation_key)))
    if following:
        values = [
            sql.SQL("{}::{}").format(sql.Placeholder(f"after_{index}"), _TYPES[type_])
            for index, (_, type_) in enumerate(asked.order)
        ]
        names = [sql.Identifier(name) for name, _ in asked.order]
        conditions.append(sql.SQL("({}) > ({})").format(sql.SQL(", ").join(names), sql.SQL(", ").join(values)))
    return conditions
