"""Which claims open which route."""

from __future__ import annotations

from contracts.claims import AgentClaims, OperatorClaims
from contracts.routes import find


def permitted(method: str, path: str, claims: AgentClaims | OperatorClaims) -> bool:
    """Whether the claims open the route; nothing opens a route that is not declared."""
    route = find(method, path)
    if route is None:
        return False
    if route.audience is None:
        return True
    if claims.aud is not route.audience:
        return False
    return route.role is None or (isinstance(claims, OperatorClaims) and claims.role >= route.role)
