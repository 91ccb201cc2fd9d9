"""What has to be done every so often: partitions made ahead, old ones dropped."""
