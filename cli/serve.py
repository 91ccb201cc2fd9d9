"""`pganalytics serve`: the server with all its functions in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from cli.dsn import DsnFile, store_dsn
from cli.ending import fail


def serve(
    data_dir: Annotated[
        Path, typer.Option(envvar="PGANALYTICS_DATA_DIR", help="Folder of the queue; private to this account.")
    ],
    keys_file: Annotated[
        Path, typer.Option(envvar="PGANALYTICS_KEYS_FILE", help="Keys of access tokens; see `pganalytics keys create`.")
    ],
    store_dsn_file: DsnFile = None,
    bucket_url: Annotated[
        str | None,
        typer.Option(
            envvar="PGANALYTICS_BUCKET_URL",
            help="s3://name or file:///folder; without it, `bucket` in the data folder.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(envvar="PGANALYTICS_HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="PGANALYTICS_PORT", help="Port to listen on; 0: any free one.")] = 8480,
    tls_cert: Annotated[
        Path | None, typer.Option(envvar="PGANALYTICS_TLS_CERT", help="Certificate chain, PEM. TLS 1.3 is the minimum.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar="PGANALYTICS_TLS_KEY", help="Its private key, PEM.")] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            envvar="PGANALYTICS_CLIENT_CA",
            help="Authorities of agents' certificates, PEM (`pganalytics authority show`): an agent's token is good "
            "only with its certificate then. Needs --tls-cert.",
        ),
    ] = None,
    authority_file: Annotated[
        Path | None,
        typer.Option(
            envvar="PGANALYTICS_AUTHORITY_FILE",
            help="Authority that agents enrol with; see `pganalytics authority create`. Without it none can.",
        ),
    ] = None,
    agent_rate: Annotated[
        float,
        typer.Option(
            envvar="PGANALYTICS_AGENT_RATE",
            help="Requests of one agent or operator in a second, ten seconds' of them at once; 0: any.",
        ),
    ] = 20,
    address_rate: Annotated[
        float,
        typer.Option(
            envvar="PGANALYTICS_ADDRESS_RATE",
            help="The same, of one address without a good token; 0, where a proxy's is the only one.",
        ),
    ] = 50,
    max_connections: Annotated[
        int, typer.Option(envvar="PGANALYTICS_MAX_CONNECTIONS", help="Connections at one time.")
    ] = 10_000,
    address_connections: Annotated[
        int, typer.Option(envvar="PGANALYTICS_ADDRESS_CONNECTIONS", help="Connections of one address at one time.")
    ] = 1_000,
    *,
    plain_http: Annotated[
        bool,
        typer.Option(
            "--plain-http",
            envvar="PGANALYTICS_PLAIN_HTTP",
            help="Listen beyond this machine without TLS: only behind a proxy that speaks it.",
        ),
    ] = False,
    migrate: Annotated[
        bool, typer.Option(envvar="PGANALYTICS_MIGRATE", help="Bring the store's schema to the newest version first.")
    ] = False,
    ready_file: Annotated[
        Path | None,
        typer.Option(envvar="PGANALYTICS_READY_FILE", help="File to write the URL to, once connections are accepted."),
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option(envvar="PGANALYTICS_DRAIN_SECONDS", help="Time to finish what is in hand when stopped.")
    ] = 30,
) -> None:
    """Run the server: the HTTP API, the loader and the schedule, until SIGTERM.

    It logs JSON lines to standard error; one has `"event": "listening"` and the URL.
    """
    from infra.standalone import server, settings  # takes a second to import, which `--help` should not

    try:
        told = settings.Settings.model_validate(
            {
                "host": host,
                "port": port,
                "data_dir": data_dir,
                "bucket_url": bucket_url or f"file://{data_dir.absolute()}/bucket",
                "store_dsn": store_dsn(store_dsn_file),
                "keys_file": keys_file,
                "tls_cert": tls_cert,
                "tls_key": tls_key,
                "client_ca": client_ca,
                "authority_file": authority_file,
                "agent_rate": agent_rate,
                "address_rate": address_rate,
                "max_connections": max_connections,
                "address_connections": address_connections,
                "plain_http": plain_http,
                "migrate": migrate,
                "ready_file": ready_file,
                "drain_seconds": drain_seconds,
            }
        )
        server.run(told)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        option = "".join(f"--{str(part).replace('_', '-')}: " for part in first["loc"][:1])
        fail(option + first["msg"].removeprefix("Value error, "))
    except settings.StartError as error:
        fail(str(error))
