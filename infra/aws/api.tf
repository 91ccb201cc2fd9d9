# The HTTP API: the routes of contracts/routes.py, and the authorizer before those that are not open to anyone.

locals {
  routes = {
    "POST /v1/batches"              = { function = "ingest", open = false }
    "POST /v1/uploads"              = { function = "ingest", open = false }
    "GET /v1/config"                = { function = "config", open = false }
    "GET /v1/agents"                = { function = "query", open = false }
    "GET /v1/agents/{id}/coverage"  = { function = "query", open = false }
    "GET /v1/targets"               = { function = "query", open = false }
    "GET /v1/targets/{id}"          = { function = "query", open = false }
    "GET /v1/targets/{id}/metrics"  = { function = "query", open = false }
    "POST /v1/agents"               = { function = "identity", open = true }
    "DELETE /v1/agents/{id}"        = { function = "identity", open = false }
    "POST /v1/token"                = { function = "identity", open = true }
    "POST /v1/certificate"          = { function = "identity", open = false }
    "GET /v1/enrolments"            = { function = "identity", open = false }
    "POST /v1/enrolments"           = { function = "identity", open = false }
    "DELETE /v1/enrolments/{id}"    = { function = "identity", open = false }
    "POST /v1/auth/login"           = { function = "identity", open = true }
    "POST /v1/auth/refresh"         = { function = "identity", open = true }
    "POST /v1/auth/logout"          = { function = "identity", open = true }
    "PUT /v1/auth/password"         = { function = "identity", open = false }
    "GET /v1/users"                 = { function = "identity", open = false }
    "POST /v1/users"                = { function = "identity", open = false }
    "PATCH /v1/users/{name}"        = { function = "identity", open = false }
    "PUT /v1/users/{name}/password" = { function = "identity", open = false }
    "GET /v1/audit"                 = { function = "identity", open = false }
    "GET /v1/health"                = { function = "query", open = true }
    "GET /v1/version"               = { function = "query", open = true }
    "GET /v1/openapi.json"          = { function = "query", open = true }

    "GET /v1/documents"                            = { function = "config", open = false }
    "POST /v1/documents/validate"                  = { function = "config", open = false }
    "GET /v1/documents/{scope}"                    = { function = "config", open = false }
    "PUT /v1/documents/{scope}"                    = { function = "config", open = false }
    "GET /v1/documents/{scope}/versions"           = { function = "config", open = false }
    "GET /v1/documents/{scope}/versions/{version}" = { function = "config", open = false }
    "GET /v1/documents/{scope}/diff"               = { function = "config", open = false }
    "POST /v1/documents/{scope}/rollback"          = { function = "config", open = false }
    "GET /v1/configuration"                        = { function = "config", open = false }
    "GET /v1/agents/{id}/configuration"            = { function = "config", open = false }
    "PUT /v1/agents/{id}/labels"                   = { function = "config", open = false }
    "GET /v1/releases"                             = { function = "config", open = false }
    "POST /v1/releases"                            = { function = "config", open = false }
    "GET /v1/releases/{id}"                        = { function = "config", open = false }
    "POST /v1/releases/{id}/pause"                 = { function = "config", open = false }
    "POST /v1/releases/{id}/resume"                = { function = "config", open = false }
    "POST /v1/releases/{id}/abort"                 = { function = "config", open = false }
  }

  answering = toset([for route in local.routes : route.function])

  # Where somebody may guess a password, each guess costing a hashing.
  guessed = ["POST /v1/auth/login", "PUT /v1/auth/password"]
}

resource "aws_apigatewayv2_api" "this" {
  name          = var.name
  description   = "pgAnalytics: agents upload batches and pull their configuration, operators read and configure."
  protocol_type = "HTTP"
  tags          = local.tags

  disable_execute_api_endpoint = var.domain != null
}

resource "aws_apigatewayv2_authorizer" "tokens" {
  api_id                            = aws_apigatewayv2_api.this.id
  name                              = "tokens"
  authorizer_type                   = "REQUEST"
  authorizer_uri                    = aws_lambda_function.this["authorizer"].invoke_arn
  authorizer_payload_format_version = "2.0"
  enable_simple_responses           = true
  # An answer is kept by both: it hangs on nothing else of a request, unless the token is bound to a certificate.
  identity_sources                 = ["$request.header.Authorization", "$context.routeKey"]
  authorizer_result_ttl_in_seconds = var.agent_domain == null ? var.authorizer_cache_seconds : 0
}

resource "aws_apigatewayv2_integration" "function" {
  for_each = local.answering

  api_id                 = aws_apigatewayv2_api.this.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.this[each.key].invoke_arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "this" {
  for_each = local.routes

  api_id             = aws_apigatewayv2_api.this.id
  route_key          = each.key
  target             = "integrations/${aws_apigatewayv2_integration.function[each.value.function].id}"
  authorization_type = each.value.open ? "NONE" : "CUSTOM"
  authorizer_id      = each.value.open ? null : aws_apigatewayv2_authorizer.tokens.id
}

resource "aws_cloudwatch_log_group" "api" {
  name              = "/aws/apigateway/${var.name}"
  retention_in_days = var.log_keep_days
  tags              = local.tags
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = "$default"
  auto_deploy = true
  tags        = local.tags

  default_route_settings {
    throttling_burst_limit = var.requests_per_second
    throttling_rate_limit  = var.requests_per_second
  }

  dynamic "route_settings" {
    for_each = local.guessed

    content {
      route_key              = route_settings.value
      throttling_burst_limit = var.logins_per_second
      throttling_rate_limit  = var.logins_per_second
    }
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.api.arn
    # No header is in it: one of them is the token.
    format = jsonencode({
      at         = "$context.requestTimeEpoch"
      request_id = "$context.requestId"
      from       = "$context.identity.sourceIp"
      route      = "$context.routeKey"
      status     = "$context.status"
      bytes      = "$context.responseLength"
      ms         = "$context.responseLatency"
      subject    = "$context.authorizer.sub"
      error      = "$context.error.message"
    })
  }

  depends_on = [aws_apigatewayv2_route.this] # settings are for routes that are there
}

resource "aws_lambda_permission" "api" {
  for_each = local.answering

  statement_id  = "api"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this[each.key].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/*/*"
}

resource "aws_lambda_permission" "authorizer" {
  statement_id  = "api"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["authorizer"].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this.execution_arn}/authorizers/${aws_apigatewayv2_authorizer.tokens.id}"
}
