"""Prints what PostgreSQL keeps of a password (RFC 5802): what it has already if that is of this one, else a new one.

Standard input is JSON: `password`, of printable ASCII, which SASLprep leaves as it is; `verifier`, what is kept now.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import sys


def made(password: str, salt: bytes, iterations: int) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    shown = [base64.b64encode(each).decode() for each in (salt, stored, server)]
    return "SCRAM-SHA-256${}:{}${}:{}".format(iterations, *shown)


given = json.load(sys.stdin)
verifier = given["verifier"]
kept = re.match(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$", verifier)
if not kept or made(given["password"], base64.b64decode(kept[2]), int(kept[1])) != verifier:
    verifier = made(given["password"], os.urandom(16), 4096)
sys.stdout.write(verifier)
