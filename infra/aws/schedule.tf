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
