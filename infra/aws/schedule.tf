# Maintenance by the clock: each of its tasks is a rule of its own.

locals {
  schedules = {
    partitions = {
      every       = "rate(1 hour)"
      description = "Makes the store's partitions ahead, and drops those past their retention."
    }
    rollup = {
      every       = "rate(5 minutes)"
      description = "Rolls up the hours that have new data."
    }
    expire = {
      every       = "rate(1 day)"
      description = "Removes what went to quarantine long ago."
    }
  }
}

resource "aws_cloudwatch_event_rule" "maintenance" {
  for_each = local.schedules

  name                = "${var.name}-${each.key}"
  description         = each.value.description
  schedule_expression = each.value.every
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "maintenance" {
  for_each = local.schedules

  rule  = aws_cloudwatch_event_rule.maintenance[each.key].name
  arn   = aws_lambda_function.this["maintenance"].arn
  input = jsonencode({ task = each.key })
}

resource "aws_lambda_permission" "maintenance" {
  for_each = local.schedules

  statement_id  = each.key
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["maintenance"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.maintenance[each.key].arn
}
