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
    configuration = {
      every       = "rate(1 day)"
      description = "Removes configurations that were computed for agents which are gone."
    }
    fleet = {
      every       = "rate(5 minutes)"
      description = "Counts agents, and those that are silent."
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

# What a lost notification left in the bucket is queued again; a run begins at another agent each time.

resource "aws_cloudwatch_event_rule" "reconcile" {
  name                = "${var.name}-reconcile"
  description         = "Queues the batches of the last days that are in the bucket and not in the store."
  schedule_expression = "rate(1 hour)"
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "reconcile" {
  rule  = aws_cloudwatch_event_rule.reconcile.name
  arn   = aws_lambda_function.this["reconcile"].arn
  input = jsonencode({})
}

resource "aws_lambda_permission" "reconcile" {
  statement_id  = "reconcile"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["reconcile"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.reconcile.arn
}

# Each look at the releases on their way is apart from the one before: nothing is lost where one is missed.

resource "aws_cloudwatch_event_rule" "release" {
  name                = "${var.name}-release"
  description         = "Measures the gates of releases, halts what fails, and begins the next stage of what has baked."
  schedule_expression = "rate(1 minute)"
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "release" {
  rule  = aws_cloudwatch_event_rule.release.name
  arn   = aws_lambda_function.this["release"].arn
  input = jsonencode({})
}

resource "aws_lambda_permission" "release" {
  statement_id  = "release"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["release"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.release.arn
}
