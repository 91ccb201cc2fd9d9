# The bucket is the log of record: what is in it can be loaded again.

resource "aws_s3_bucket" "batches" {
  bucket = coalesce(var.bucket, "${var.name}-batches-${local.account}-${data.aws_region.current.name}")
  tags   = local.tags
}

resource "aws_s3_bucket_ownership_controls" "batches" {
  bucket = aws_s3_bucket.batches.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "batches" {
  bucket                  = aws_s3_bucket.batches.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "batches" {
  bucket = aws_s3_bucket.batches.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "batches" {
  bucket = aws_s3_bucket.batches.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "batches" {
  bucket = aws_s3_bucket.batches.id

  rule {
    id     = "leftovers"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }
  }

  dynamic "rule" {
    for_each = var.bucket_keep_days == null && var.bucket_cold == null ? [] : ["batches"]

    content {
      id     = rule.value
      status = "Enabled"

      filter {
        prefix = local.batches
      }

      # S3 leaves objects under 128 KiB where they are, which is what they would be billed as.
      dynamic "transition" {
        for_each = var.bucket_cold[*]

        content {
          days          = transition.value.after_days
          storage_class = transition.value.class
        }
      }

      dynamic "expiration" {
        for_each = var.bucket_keep_days[*]

        content {
          days = expiration.value
        }
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.batches]

  lifecycle {
    precondition {
      condition = (
        var.bucket_cold == null || var.bucket_keep_days == null ? true :
        var.bucket_keep_days >= var.bucket_cold.after_days + (var.bucket_cold.class == "GLACIER_IR" ? 90 : 30)
      )
      error_message = "bucket_cold: S3 bills 90 days of GLACIER_IR and 30 of STANDARD_IA at least; with bucket_keep_days batches would leave the bucket before."
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.batches.arn, "${aws_s3_bucket.batches.arn}/*"]

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

  # What is in the log of record stays as it is: whoever writes, functions and agents alike, makes new objects only.
  # Who restores a bucket puts objects with that header, too: a copy has none, and is denied.
  statement {
    sid       = "CreateOnly"
    effect    = "Deny"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.batches.arn}/${local.batches}*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["true"]
    }
  }
}

resource "aws_s3_bucket_policy" "batches" {
  bucket     = aws_s3_bucket.batches.id
  policy     = data.aws_iam_policy_document.bucket.json
  depends_on = [aws_s3_bucket_public_access_block.batches]
}

resource "aws_s3_bucket_notification" "batches" {
  bucket = aws_s3_bucket.batches.id

  queue {
    id            = "batches"
    queue_arn     = aws_sqs_queue.batches.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = local.batches
    filter_suffix = ".json.gz"
  }

  # S3 sends a test message when the notification is set: it must be allowed to by then.
  depends_on = [aws_sqs_queue_policy.batches]
}
