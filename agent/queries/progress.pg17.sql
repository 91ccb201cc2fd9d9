-- How far long commands have come; the agent's own COPY left out. What a command does not count is null. A session has
-- one such command at a time, so each row is of one of the views.
-- Privileges: pg_read_all_stats (in pg_monitor). Cost: some 0.1 ms; 3 ms when first planned.
-- Without that privilege all but pid, command and datid of other roles' sessions is null; by relid such rows are told.
select
    pid,
    case
        when v.pid is not null then 'VACUUM'
        when z.pid is not null then 'ANALYZE'
        when i.pid is not null then coalesce(i.command, 'CREATE INDEX')
        when c.pid is not null then coalesce(c.command, 'CLUSTER')
        when b.pid is not null then 'BASE BACKUP'
        else coalesce(y.command, 'COPY')
    end,
    a.backend_type,
    coalesce(v.datid, z.datid, i.datid, c.datid, y.datid),
    coalesce(v.relid, z.relid, i.relid, c.relid, y.relid, case when b.phase is not null then 0::oid end),
    coalesce(i.index_relid, c.cluster_index_relid),
    coalesce(v.phase, z.phase, i.phase, c.phase, b.phase),
    (extract(epoch from pg_catalog.clock_timestamp() - a.query_start) * 1000000)::bigint,
    coalesce(v.heap_blks_total, z.sample_blks_total, i.blocks_total, c.heap_blks_total),
    coalesce(v.heap_blks_scanned, z.sample_blks_scanned, i.blocks_done, c.heap_blks_scanned),
    v.heap_blks_vacuumed,
    i.tuples_total,
    coalesce(i.tuples_done, c.heap_tuples_scanned, y.tuples_processed),
    c.heap_tuples_written,
    y.tuples_excluded,
    y.tuples_skipped,
    coalesce(b.backup_total, nullif(y.bytes_total, 0)),
    coalesce(b.backup_streamed, y.bytes_processed),
    v.indexes_total,
    coalesce(v.indexes_processed, c.index_rebuild_count),
    v.index_vacuum_count,
    v.num_dead_item_ids,
    null,
    v.dead_tuple_bytes,
    v.max_dead_tuple_bytes,
    coalesce(z.child_tables_total, i.partitions_total, b.tablespaces_total),
    coalesce(z.child_tables_done, i.partitions_done, b.tablespaces_streamed),
    i.lockers_total,
    i.lockers_done,
    i.current_locker_pid,
    null
from pg_catalog.pg_stat_progress_vacuum v
full join pg_catalog.pg_stat_progress_analyze z using (pid)
full join pg_catalog.pg_stat_progress_create_index i using (pid)
full join pg_catalog.pg_stat_progress_cluster c using (pid)
full join pg_catalog.pg_stat_progress_basebackup b using (pid)
full join pg_catalog.pg_stat_progress_copy y using (pid)
join pg_catalog.pg_stat_activity a using (pid)
where not (a.application_name = 'pganalytics-agent' and a.usename is not distinct from session_user);
