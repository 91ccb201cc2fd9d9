# From the bucket to the loader. What is at fault the loader itself puts into quarantine; a message is only received
# again for the store's fault or the bucket's, so it has many turns before it becomes a dead letter.

resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-batches-dead"
  message_retention_seconds = 14 * 86400
  sqs_managed_sse_enabled   = true
  tags                      = local.tags
}

resource "aws_sqs_queue" "batches" {
  name                       = "${var.name}-batches"
  message_retention_seconds  = 10 * 86400 # below the dead letters': these keep their age
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true
  visibility_timeout_seconds = 6 * local.loader_timeout # as Lambda's documentation asks
  tags                       = local.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = var.loader_receives
  })
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "FromTheBucket"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.batches.arn]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_s3_bucket.batches.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [aws_sqs_queue.batches.arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "batches" {
  queue_url = aws_sqs_queue.batches.id
  policy    = data.aws_iam_policy_document.queue.json
}

resource "aws_lambda_event_source_mapping" "loader" {
  event_source_arn        = aws_sqs_queue.batches.arn
  function_name           = aws_lambda_function.this["loader"].arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = var.loader_concurrency
  }

  depends_on = [aws_iam_role_policy.function, aws_lambda_invocation.migrations]
}
