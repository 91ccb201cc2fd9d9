"""The stateless functions. None imports another; `http`, `store`, `environment` and `secret` serve them all."""
