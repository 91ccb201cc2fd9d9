"""Who may call what: verifies access tokens, and makes them."""
