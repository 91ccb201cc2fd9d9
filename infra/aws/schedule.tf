# Partitions ahead of the data and none behind its retention, every hour; the loader makes one that it misses itself.

resource "aws_cloudwatch_event_rule" "partitions" {
  name                = "${var.name}-partitions"
  description         = "Makes the store's partitions ahead, and drops those past their retention."
  schedule_expression = "rate(1 hour)"
  tags                = local.tags
}

resource "aws_cloudwatch_event_target" "partitions" {
  rule  = aws_cloudwatch_event_rule.partitions.name
  arn   = aws_lambda_function.this["maintenance"].arn
  input = jsonencode({ task = "partitions" })
}

resource "aws_lambda_permission" "partitions" {
  statement_id  = "partitions"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["maintenance"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.partitions.arn
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
