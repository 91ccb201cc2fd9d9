"""Prints the SCRAM verifier (RFC 5803) of a password: the stored one, if it is of this password, or a new one.

Reads a JSON object with `password` (printable ASCII, which SASLprep leaves as it is) and `stored` (may be empty).
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import sys


def verifier(password: str, iterations: int, salt: bytes) -> str:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (
        base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client_key).digest(), server_key)
    )
    return f"SCRAM-SHA-256${iterations}:{salt64}${stored64}:{server64}"


given = json.load(sys.stdin)
there = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([^$]+)\$.*", given["stored"])
made = there and verifier(given["password"], int(there[1]), base64.b64decode(there[2]))
if made != given["stored"]:
    made = verifier(given["password"], 4096, secrets.token_bytes(16))
sys.stdout.write(f"{made}\n")
