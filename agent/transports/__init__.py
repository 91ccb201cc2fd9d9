"""The ways out for batches; each answers what became of one."""
