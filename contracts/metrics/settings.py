"""How a server is set up: settings, roles, and the extensions of its databases."""

from contracts.metrics.model import Metric, Scope, Type, gauge, instant, label

SETTING = Metric(
    name="setting",
    scope=Scope.CLUSTER,
    help=(
        "Settings as a new session of the agent has them (pg_settings). Those for superusers only are missing without "
        "pg_read_all_settings, and values that may hold a secret never travel."
    ),
    key=("name",),
    columns=(
        label("name", "Name."),
        label("value", "Value, in its unit; null where it is withheld."),
        label("unit", "Unit of the value."),
        label("context", "What a change needs, such as `postmaster` (a restart) or `sighup` (a reload)."),
        label("source", "Where the value comes from; null where the agent's session has a value of its own."),
        label("sourcefile", "The file that it comes from; null without pg_read_all_settings."),
        gauge("is_default", "Whether it is the value that the server starts with if none is set.", type=Type.BOOLEAN),
        gauge("is_withheld", "Whether the value does not travel, as it may hold a secret.", type=Type.BOOLEAN),
        gauge("is_set", "Whether the value is more than an empty text.", type=Type.BOOLEAN),
        gauge("pending_restart", "Whether the file has another value, which needs a restart.", type=Type.BOOLEAN),
    ),
    every_seconds=300,
    changes=True,
)

EXTENSION = Metric(
    name="extension",
    scope=Scope.DATABASE,
    help="Extensions of a database (pg_extension), and the version that the host would give them.",
    key=("extname",),
    columns=(
        label("extname", "Name."),
        label("extversion", "Version in this database."),
        label("default_version", "Version that ALTER EXTENSION ... UPDATE leads to; null where its files are gone."),
        label("schema_name", "Schema of its objects."),
        label("owner", "Name of the owning role."),
    ),
    every_seconds=3600,
    changes=True,
)

_HOLDS = "Whether it has the privileges of {}; superusers have all."

ROLE = Metric(
    name="role",
    scope=Scope.CLUSTER,
    help="Roles, what they may do, and which of the predefined roles for monitoring they have (pg_roles).",
    key=("roleid",),
    columns=(
        label("roleid", "Oid of the role.", type=Type.OID),
        label("rolname", "Name."),
        gauge("is_superuser", "Whether it may do anything.", type=Type.BOOLEAN),
        gauge("inherits", "Whether it has the privileges of roles it is a member of.", type=Type.BOOLEAN),
        gauge("creates_roles", "Whether it may create roles.", type=Type.BOOLEAN),
        gauge("creates_databases", "Whether it may create databases.", type=Type.BOOLEAN),
        gauge("can_login", "Whether sessions may begin as it.", type=Type.BOOLEAN),
        gauge("can_replicate", "Whether it may begin replication.", type=Type.BOOLEAN),
        gauge("bypasses_rls", "Whether row level security does not bind it.", type=Type.BOOLEAN),
        gauge("connection_limit", "Concurrent connections allowed; -1 is no limit."),
        instant("valid_until_at", "When its password expires; null is never."),
        gauge("has_pg_monitor", _HOLDS.format("pg_monitor"), type=Type.BOOLEAN),
        gauge("has_pg_read_all_stats", _HOLDS.format("pg_read_all_stats"), type=Type.BOOLEAN),
        gauge("has_pg_read_all_settings", _HOLDS.format("pg_read_all_settings"), type=Type.BOOLEAN),
        gauge("has_pg_stat_scan_tables", _HOLDS.format("pg_stat_scan_tables"), type=Type.BOOLEAN),
        gauge(
            "has_pg_use_reserved_connections",
            "Whether it may use reserved_connections (16 and newer); superusers may.",
            type=Type.BOOLEAN,
        ),
    ),
    every_seconds=3600,
    changes=True,
)
