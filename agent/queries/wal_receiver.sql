-- What a standby receives and replays; no row on a primary. The connection's settings are not looked at.
-- Privileges: pg_read_all_stats (in pg_monitor); without it all of the receiver but pid is null. Cost: some 0.1 ms.
select
    r.pid,
    case when r.pid is null then 'stopped' else r.status end,
    r.slot_name,
    r.sender_host,
    r.sender_port,
    r.received_tli,
    pg_catalog.pg_wal_lsn_diff(r.written_lsn, '0/0'),
    pg_catalog.pg_wal_lsn_diff(here.received, '0/0'),
    pg_catalog.pg_wal_lsn_diff(r.latest_end_lsn, '0/0'),
    pg_catalog.pg_wal_lsn_diff(here.replayed, '0/0'),
    pg_catalog.pg_wal_lsn_diff(r.latest_end_lsn, here.received),
    pg_catalog.pg_wal_lsn_diff(here.received, here.replayed),
    case
        when r.pid is null then null
        when here.replayed >= here.received then 0
        else (extract(epoch from pg_catalog.clock_timestamp() - here.replayed_at) * 1000000)::bigint
    end,
    here.pause_state,
    r.latest_end_time,
    r.last_msg_send_time,
    r.last_msg_receipt_time,
    here.replayed_at
from (
    select
        pg_catalog.pg_last_wal_replay_lsn() as replayed,
        pg_catalog.pg_last_wal_receive_lsn() as received,
        pg_catalog.pg_last_xact_replay_timestamp() as replayed_at,
        pg_catalog.pg_get_wal_replay_pause_state() as pause_state
    where pg_catalog.pg_is_in_recovery()
) as here
left join pg_catalog.pg_stat_wal_receiver r on true;
