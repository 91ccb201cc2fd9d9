"""Metrics read from PostgreSQL's own log."""

from contracts.metrics.model import Metric, Scope, Type, gauge, instant, label

LOG_EVENT = Metric(
    name="log_event",
    scope=Scope.CLUSTER,
    help="Entries of the server's log (stderr, csvlog or jsonlog form), each once, with the literals taken out.",
    key=("file_id", "position"),
    columns=(
        label("file_id", "Identity of the log file: device, inode and a checksum of its beginning."),
        gauge("position", "Where the entry begins in that file.", unit="bytes", type=Type.BIGINT),
        instant("logged_at", "When the server wrote it, by the log's own clock; null where the prefix has no time."),
        label("severity", "DEBUG1-5, LOG, INFO, NOTICE, WARNING, ERROR, FATAL or PANIC."),
        label("sqlstate", "Five characters; null where the form of the log does not have it."),
        gauge("pid", "Process that wrote it."),
        label("database_name", "Database of that session."),
        label("user_name", "Role of that session."),
        label("application_name", "Application name of that session."),
        label("backend_type", "Kind of process, in csvlog and jsonlog."),
        label("query_id", "Identifier of the statement, where compute_query_id is on.", type=Type.BIGINT),
        gauge("duration_us", "Duration, where the message reports one (log_min_duration_statement)."),
        label("message", "The message; literals and values are `?`."),
        label("detail", "DETAIL; literals and values are `?`."),
        label("hint", "HINT."),
        label("context", "CONTEXT; literals and values are `?`."),
        label("statement", "The statement; literals are `?`, comments are gone."),
    ),
    every_seconds=10,
)
