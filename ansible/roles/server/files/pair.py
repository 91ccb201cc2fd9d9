"""Reads a certificate chain and a private key, JSON on standard input; it is an error unless they are a pair."""

import json
import sys

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

given = json.load(sys.stdin)
first = load_pem_x509_certificates(given["certificate"].encode())[0]
if load_pem_private_key(given["key"].encode(), password=None).public_key() != first.public_key():
    sys.exit("the key is another certificate's")
