"""Who this agent is, and how it proves it: a key made on this host, a certificate for it, access tokens by assertion.

What needs cryptography and PyJWT is imported only where an agent is enrolled, or becomes it.
"""
