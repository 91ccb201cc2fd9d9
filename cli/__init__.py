"""`pganalytics`, the operator's command: a client of the HTTP API, and the standalone server."""
