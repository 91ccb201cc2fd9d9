"""The routes by which agents come to their certificates and tokens, and operators to enrolment tokens."""

from __future__ import annotations

from aws_lambda_powertools.event_handler.api_gateway import Router

router = Router()  # type: ignore[no-untyped-call]
