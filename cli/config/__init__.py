"""`pganalytics config`: documents of the configuration, as operators write, check, save and compare them."""
