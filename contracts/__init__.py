"""What agents and functions say to each other: pure data, no input or output.

Every instant on the wire is an integer: microseconds since 1970-01-01 UTC. Every duration is an integer of
microseconds, every size an integer of bytes. `null` means "not known" and is never a zero.
"""
