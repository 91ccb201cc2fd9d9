"""What a batch may be at most; whoever reads one checks these while inflating it."""

#: A compressed batch. Lambda takes 6 MB a request, base64 included.
MAX_COMPRESSED_BYTES = 4_000_000

#: A batch once inflated.
MAX_INFLATED_BYTES = 50_000_000

#: Rows of all frames of a batch together, keys that are gone included.
MAX_ROWS = 200_000

#: Frames, runs and gaps of a batch, each.
MAX_RUNS = 20_000

#: Objects and arrays of a batch together, and brackets within its texts. A batch of the most frames has fewer, and
#: each costs its reader twenty times its bytes: without this, 50 KB of gzip could ask for gigabytes.
MAX_BRACKETS = 1_000_000

#: Columns of a frame, and keys that are gone. No metric has as many.
MAX_COLUMNS = 1_000

#: The last place in a stream: the object's key has 12 digits for it.
MAX_SEQ = 10**12 - 1

#: How far a batch may be ahead of the server's clock, and what is in it ahead of when it was sent: 10 minutes.
MAX_AHEAD_US = 10 * 60 * 1_000_000

BIGINT_MIN, BIGINT_MAX = -(2**63), 2**63 - 1
OID_MAX = 2**32 - 1

#: The last microsecond of the year 9999, counted from 1970: the last that Python's datetime knows.
INSTANT_MAX = 253_402_300_799_999_999
