"""The stateless functions. None imports another; `http`, `store` and `environment` serve them all."""
