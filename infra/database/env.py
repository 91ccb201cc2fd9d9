"""What alembic runs around the migrations; `infra.database.migrate` hands it the connection."""

from alembic import context

connection = context.config.attributes.get("connection")
if connection is None:
    context.configure(dialect_name="postgresql", as_sql=True, version_table_schema="public")
else:
    context.configure(connection=connection, version_table_schema="public")

with context.begin_transaction():
    context.run_migrations()
