"""Metrics of the agent itself: what it costs its host and the servers it watches, and how its delivery goes."""

from contracts.metrics.model import Metric, Scope, counter, gauge, instant, label

AGENT_HEALTH = Metric(
    name="agent_health",
    scope=Scope.HOST,
    help="What the agent's process takes of its host, what waits in its spool, and what became of its uploads.",
    key=(),
    columns=(
        instant("started_at", "When the process started; its counters begin there."),
        counter("cpu_us", "Processor time of the process, in user mode and in the kernel."),
        gauge("rss_bytes", "Physical memory that the process occupies."),
        gauge("threads", "Threads of the process."),
        gauge("open_files", "File descriptors that are open, sockets included."),
        gauge("spool_batches", "Batches that wait for the server."),
        gauge("spool_bytes", "Size of the batches that wait."),
        gauge("spool_oldest_us", "Age of the oldest batch that waits; null where none does."),
        gauge("set_aside_batches", "Batches in the folder of those that were rejected or belong to a lost stream."),
        counter("spooled_bytes", "Put into the spool, compressed."),
        counter("dropped_batches", "Batches that the spool dropped for their age or to make room."),
        counter("dropped_bytes", "Size of the batches that the spool dropped."),
        counter("uploads_accepted", "Uploads that the other end took."),
        counter("uploads_duplicate", "Uploads of what the other end had already."),
        counter("uploads_later", "Uploads that were answered, and are to be tried again."),
        counter("uploads_rejected", "Uploads that were refused for good."),
        counter("uploads_failed", "Uploads without an answer: no connection, no access token, nothing in time."),
        counter("sent_bytes", "Size of the uploads that were answered; what is sent again counts again."),
        gauge("clock_skew_us", "How far this host's clock is ahead of the server's; null before its first answer."),
    ),
    every_seconds=60,
)

AGENT_TARGET = Metric(
    name="agent_target",
    scope=Scope.HOST,
    help="What the agent asks of each target, and how its collectors end there; the target `host` has no queries.",
    key=("target",),
    columns=(
        label("target", "Name of the target."),
        counter("connections", "Connections made."),
        counter("queries", "Queries asked; what sets a connection up is left out."),
        counter("errors", "Connections and queries that failed."),
        counter("query_time_us", "Time in queries, from the question to the end of the answer."),
        counter("runs_ok", "Executions of collectors that gave rows."),
        counter("runs_empty", "Executions that found nothing of that kind."),
        counter("runs_permission", "Executions without the right to read."),
        counter("runs_unsupported", "Executions of what the server does not have."),
        counter("runs_timeout", "Executions that took too long."),
        counter("runs_locked", "Executions that a lock kept from reading everything."),
        counter("runs_truncated", "Executions of which a cap left rows out."),
        counter("runs_skipped", "Executions left out on purpose."),
        counter("runs_missed", "Executions that could not start in time."),
        counter("runs_error", "Executions that failed."),
    ),
    every_seconds=60,
)
