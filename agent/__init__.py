"""The process on a database host: it reads, batches, spools and uploads."""
