"""`pganalytics demo`: the whole system on this machine, under a load whose truth is known."""
