"""Versioned configuration documents, as agents pull them."""
