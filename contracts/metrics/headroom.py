"""What can run out on a server: space, and transaction ids; and who keeps them from being freed."""

from contracts.metrics.model import Metric, Scope, Type, gauge, instant, label

DATABASE_SIZE = Metric(
    name="database_size",
    scope=Scope.CLUSTER,
    help="Size of every database on disk (pg_database_size), those that nobody may connect to included.",
    key=("datid",),
    columns=(
        label("datid", "Oid of the database.", type=Type.OID),
        gauge("size_bytes", "Size; null where the role may neither connect to it nor has pg_read_all_stats."),
    ),
    every_seconds=600,
)

TABLESPACE_SIZE = Metric(
    name="tablespace_size",
    scope=Scope.CLUSTER,
    help="Tablespaces, where they are, and their size on disk (pg_tablespace_size).",
    key=("spcid",),
    columns=(
        label("spcid", "Oid of the tablespace.", type=Type.OID),
        label("spcname", "Name."),
        label("location", "Its folder; null for the two in the data directory."),
        gauge("size_bytes", "Size; null where the role has neither CREATE on it nor pg_read_all_stats."),
    ),
    every_seconds=900,
)

WAL_FILES = Metric(
    name="wal_files",
    scope=Scope.CLUSTER,
    help="What lies in pg_wal, and what of it waits for the archiver (pg_ls_waldir, pg_ls_archive_statusdir).",
    key=(),
    columns=(
        gauge("segments", "WAL segments, those for later use included."),
        gauge("recycled_segments", "Segments beyond the current one, ready for use; null on a standby."),
        gauge("size_bytes", "Size of all files."),
        instant("oldest_modified_at", "When the oldest segment that is still kept was last written."),
        gauge("ready_files", "Files that wait for the archiver."),
        instant("oldest_ready_at", "Since when the one that has waited longest waits."),
    ),
    every_seconds=300,
)

XID_AGE = Metric(
    name="xid_age",
    scope=Scope.CLUSTER,
    help="How far each database is from its last complete freezing (pg_database); limits are in the metric setting.",
    key=("datid",),
    columns=(
        label("datid", "Oid of the database.", type=Type.OID),
        gauge("datfrozenxid_age", "Transactions since the oldest unfrozen one may have been.", unit="transactions"),
        gauge("datminmxid_age", "Multixacts since the oldest that may be referred to.", unit="multixacts"),
    ),
    every_seconds=300,
)

PREPARED_XACT = Metric(
    name="prepared_xact",
    scope=Scope.CLUSTER,
    help="Prepared transactions (pg_prepared_xacts). Their names are the application's own text, and stay there.",
    key=("transaction",),
    columns=(
        label("transaction", "Transaction id, 32 bits.", type=Type.BIGINT),
        label("datid", "Oid of its database.", type=Type.OID),
        label("ownerid", "Oid of the role that began it.", type=Type.OID),
        instant("prepared_at", "When it was prepared."),
        gauge("transaction_age", "Transactions since.", unit="transactions"),
    ),
    every_seconds=60,
)

XMIN_HOLDER = Metric(
    name="xmin_holder",
    scope=Scope.CLUSTER,
    help="Who keeps dead rows from being removed: sessions, replication slots, prepared transactions, standbys.",
    key=("kind", "holder"),
    columns=(
        label(
            "kind",
            "`session`, `standby` (a WAL sender without a slot that does), `prepared`, `slot`, or `slot_catalog`: what "
            "a slot holds in the catalogs alone.",
        ),
        label("holder", "Process id of a session or WAL sender, name of a slot, id of a prepared transaction."),
        label("datid", "Oid of the database, where it is of one.", type=Type.OID),
        label("user_name", "Role of the session or WAL sender; owner of the prepared transaction."),
        label("application_name", "Application name of the session or WAL sender."),
        label(
            "state",
            "State of the session or WAL sender (null without pg_read_all_stats); `active` or `inactive` of a slot.",
        ),
        gauge("xmin_age", "Age of the oldest transaction whose rows it may need.", unit="transactions"),
        instant(
            "held_since_at",
            "Since when: the transaction's begin, its preparing, the WAL sender's start; of a slot, when it was last "
            "in use (17 and newer).",
        ),
    ),
    every_seconds=300,
    at_most=200,
)
