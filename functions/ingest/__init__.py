"""Batches: the door that puts them into the bucket, and the loader that takes them from there to the store."""
