-- Space that a rewrite of tables and B-tree indexes would give back, by estimate. What a row takes is followed column
-- by column, as PostgreSQL lays it out: null bitmap, alignment, mean width from the statistics. The rows of the last
-- vacuum or analyze, as many a page as the fillfactor allows, make the pages needed; the pages of that same moment are
-- those there are. No file and no relation is opened, and so no lock waited for.
-- Of an index, equal keys make posting lists where the server deduplicates, and the higher levels are added.
-- Whatever is unsure counts as needed: the estimate is rather too low than too high.
-- Privileges: SELECT on the tables, or pg_stats has no row of them. Cost: some 100 ms for 1,000 tables, 3,000 indexes.
-- Parameter: at_most.
copy (
    with recursive block as materialized (
        select pg_catalog.current_setting('block_size')::float8 as bytes
    ), chosen as materialized (
        select
            c.oid, c.relpages, c.reltuples::float8 as entries,
            c.relkind = 'i' as is_index,
            coalesce(x.indrelid, c.oid) as table_oid,
            x.indkey,
            x.indisunique and x.indnkeyatts = x.indnatts as is_unique,
            coalesce(
                (
                    select o.option_value::float8
                    from pg_catalog.pg_options_to_table(c.reloptions) o
                    where o.option_name = 'fillfactor'
                ),
                case when c.relkind = 'i' then 90 else 100 end
            ) / 100 as fill,
            -- Not with columns that are only included, nor where equal values may look different: such types lack the
            -- support function 4, such collations are not deterministic.
            x.indnkeyatts = x.indnatts
                and not exists (
                    select
                    from pg_catalog.pg_options_to_table(c.reloptions) o
                    where o.option_name = 'deduplicate_items' and not o.option_value::bool
                )
                and not exists (
                    select
                    from pg_catalog.unnest(x.indclass::oid[]) as u (opclass)
                    join pg_catalog.pg_opclass k on k.oid = u.opclass
                    where not exists (
                        select
                        from pg_catalog.pg_amproc f
                        where f.amprocfamily = k.opcfamily
                            and f.amproclefttype = k.opcintype
                            and f.amprocrighttype = k.opcintype
                            and f.amprocnum = 4
                    )
                )
                and not exists (
                    select
                    from pg_catalog.unnest(x.indcollation::oid[]) as u (collation_)
                    join pg_catalog.pg_collation l on l.oid = u.collation_
                    where not l.collisdeterministic
                ) as deduplicates
        from pg_catalog.pg_class c
        left join pg_catalog.pg_index x on x.indexrelid = c.oid
        where c.oid >= 16384::oid
            and (c.relkind in ('r', 'm') or c.relkind = 'i' and c.relam = 403::oid)
            and c.relpersistence <> 't'
            and c.relnamespace <> 99::oid
        order by c.relpages desc, c.oid
        limit %(at_most)s
    ), place as materialized (
        -- Columns in their order in the row, and whose statistics tell their width: an expression has its index's own.
        select
            k.oid, a.attnum as number, a.attisdropped as is_dropped, a.attlen, a.attalign, a.attstorage,
            case when k.is_index and k.indkey[a.attnum - 1] <> 0 then k.table_oid else k.oid end as source_oid,
            case
                when k.is_index and k.indkey[a.attnum - 1] <> 0 then k.indkey[a.attnum - 1] else a.attnum
            end as source_number
        from chosen k
        join pg_catalog.pg_attribute a on a.attrelid = k.oid and a.attnum > 0
    ), statistic as materialized (
        select
            c.oid, a.attnum as number,
            s.avg_width::float8 as width,
            s.null_frac::float8 as nulls,
            case
                when s.n_distinct < 0 then -s.n_distinct::float8 * greatest(c.reltuples, 0) else s.n_distinct
            end as keys
        from pg_catalog.pg_stats s
        join pg_catalog.pg_namespace n on n.nspname = s.schemaname
        join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = s.tablename
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = s.attname
        where c.oid >= 16384::oid and not s.inherited
    ), field as materialized (
        -- A dropped column is a null in every row written since.
        select
            p.oid, p.number, s.keys,
            case when p.is_dropped then 1 else s.nulls end as nulls,
            case when p.is_dropped then 0 when p.attlen > 0 then p.attlen else s.width end as width,
            case
                when p.is_dropped or p.attlen = -1 and p.attstorage <> 'p' and s.width < 128 then 1
                else case p.attalign when 'd' then 8 when 'i' then 4 when 's' then 2 else 1 end
            end::float8 as boundary,
            not p.is_dropped and (p.attlen < 0 or s.nulls > 0) as varies
        from place p
        left join statistic s on s.oid = p.source_oid and s.number = p.source_number
    ), shape as materialized (
        select
            f.oid,
            pg_catalog.count(*) as fields,
            pg_catalog.max(f.nulls) as nulls,
            pg_catalog.bool_or(f.varies) as varies,
            pg_catalog.bool_and(f.nulls is not null) as is_known,
            -- As if no column told anything of another: too many keys rather than too few.
            pg_catalog.exp(pg_catalog.sum(pg_catalog.ln(greatest(f.keys, 1)))) as keys
        from field f
        group by f.oid
    ), walk (oid, number, filled) as (
        select s.oid, 0::bigint, 0::float8
        from shape s
        union all
        select
            w.oid,
            w.number + 1,
            w.filled
                + (1 - f.nulls) * (pg_catalog.ceil(w.filled / f.boundary) * f.boundary - w.filled + f.width)
        from walk w
        join field f on f.oid = w.oid and f.number = w.number + 1
    ), entry as materialized (
        -- Bytes of one entry, its line pointer left out. Where lengths vary, rounding up to 8 adds 3.5 on average,
        -- where they hardly do, as much as to the mean.
        select
            k.*, s.is_known, s.keys,
            greatest(pg_catalog.ceil(l.bytes / 8) * 8, case when s.varies then l.bytes + 3.5 end) as bytes
        from chosen k
        join shape s on s.oid = k.oid
        join walk w on w.oid = k.oid and w.number = s.fields
        cross join lateral (
            select w.filled + case
                when k.is_index then 8 + 8 * s.nulls
                else 24 + s.nulls * (pg_catalog.ceil((23 + pg_catalog.ceil(s.fields / 8.0)) / 8) * 8 - 24)
            end::float8 as bytes
        ) as l
    ), packed as (
        -- Pages of a table, or leaf pages of an index: 24 bytes of header, 16 at the end of an index's page, which
        -- also has the highest key once more.
        select
            e.*,
            b.bytes as block_bytes,
            case
                when e.is_index then least(
                    pg_catalog.ceil(e.entries / greatest(
                        pg_catalog.floor((b.bytes * e.fill - 40) / (e.bytes + 4)) - 1, 1
                    )),
                    case when e.deduplicates and not e.is_unique then
                        pg_catalog.ceil(
                            (e.entries * 6 + d.lists * (e.bytes + 8))
                            / greatest(b.bytes * e.fill - 40 - (e.bytes + 4) - (e.bytes + 6 * e.entries / d.lists) / 2, 1)
                        )
                    end
                )
                else pg_catalog.ceil(e.entries / greatest(pg_catalog.floor((b.bytes * e.fill - 24) / (e.bytes + 4)), 1))
            end as pages,
            greatest(pg_catalog.floor(0.7 * (b.bytes - 40) / (e.bytes + 4)), 2) as fan
        from entry e
        cross join block b
        cross join lateral (
            select least(greatest(e.keys, 1), greatest(e.entries, 1)) as keys
        ) as n
        cross join lateral (
            -- A posting list takes a tenth of a page at most.
            select n.keys * pg_catalog.ceil(
                e.entries / n.keys / greatest(pg_catalog.floor((b.bytes / 10 - e.bytes) / 6), 1)
            ) as lists
        ) as d
        where e.is_known and e.entries >= 0
    ), needed as (
        select
            p.oid,
            (
                case when p.is_index then 1 + p.pages + pg_catalog.ceil(greatest(p.pages - 1, 0) / (p.fan - 1))
                else p.pages end * p.block_bytes
            )::bigint as bytes
        from packed p
    )
    select
        k.oid,
        k.relpages * b.bytes::bigint,
        n.bytes,
        greatest(k.relpages * b.bytes::bigint - n.bytes, 0) + 0 * n.bytes,
        n.bytes is null,
        pg_catalog.has_table_privilege(k.table_oid, 'SELECT') and not pg_catalog.row_security_active(k.table_oid)
    from chosen k
    cross join block b
    left join needed n on n.oid = k.oid
) to stdout;
