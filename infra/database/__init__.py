"""The store's schema: migrations in plain SQL, and what drafts them."""
