"""The stateless functions. None imports another; `http`, `store`, `environment`, `secret` and `sdk` serve them all."""
