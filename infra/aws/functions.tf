# The functions: what each runs, what it is told, and what it may do; nothing else.

locals {
  batches = "batches/v1/" # where contracts/objects.py puts batches

  loader_timeout = 300

  bucket_url = "s3://${aws_s3_bucket.batches.id}"

  bind_tokens = tostring(var.agent_domain != null)

  # Where the store is; each function that uses it is told.
  store_environment = merge(
    { PGANALYTICS_STORE_DSN_SECRET = local.store_secret },
    var.database == null ? {} : { PGANALYTICS_STORE_AT = local.store_at },
  )

  # A deployment invokes these before the other functions are new.
  invoked = toset(["migrations", "rotation"])

  # Connections to the store are one for each run at a time: how many may there be?
  concurrency = var.concurrency == null ? {} : {
    identity    = var.concurrency.identity
    config      = var.concurrency.config
    query       = var.concurrency.query
    maintenance = 5 # as many as there are tasks
    release     = 1
    reconcile   = 1
    migrations  = 1
  }

  keep_days_by_metric = join(",", [for metric, days in var.store_keep_days_by_metric : "${metric}=${days}"])

  may_write_batches = { actions = ["s3:PutObject"], resources = ["${aws_s3_bucket.batches.arn}/${local.batches}*"] }
  # For listing; and without it S3 answers 403 rather than 404 for an object that is not there.
  may_list_batches = { actions = ["s3:ListBucket"], resources = [aws_s3_bucket.batches.arn] }
  may_read_batches = { actions = ["s3:GetObject"], resources = ["${aws_s3_bucket.batches.arn}/${local.batches}*"] }
  may_read_store   = { actions = ["secretsmanager:GetSecretValue"], resources = [local.store_secret] }
  may_read_keys    = { actions = ["secretsmanager:GetSecretValue"], resources = [aws_secretsmanager_secret.keys.arn] }
  may_read_authority = {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.authority.arn]
  }
  may_rotate_keys = {
    actions = [
      "secretsmanager:DescribeSecret",
      "secretsmanager:GetSecretValue",
      "secretsmanager:PutSecretValue",
      "secretsmanager:UpdateSecretVersionStage",
    ]
    resources = [aws_secretsmanager_secret.keys.arn]
  }
  # Its first value: whoever makes it never reads one.
  may_make_authority = {
    actions   = ["secretsmanager:DescribeSecret", "secretsmanager:PutSecretValue"]
    resources = [aws_secretsmanager_secret.authority.arn]
  }
  may_take_messages = {
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.batches.arn]
  }

  may_send_messages = {
    actions   = ["sqs:SendMessage", "sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.batches.arn]
  }

  # What Lambda itself does to bring a function into a network.
  may_join_network = {
    actions = [
      "ec2:CreateNetworkInterface",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeSubnets",
      "ec2:DeleteNetworkInterface",
      "ec2:AssignPrivateIpAddresses",
      "ec2:UnassignPrivateIpAddresses",
    ]
    resources = ["*"] # these actions know no resources
  }

  # API Gateway waits 30 seconds for a function and 10 for the authorizer.
  functions = {
    authorizer = {
      artifact   = "authorizer"
      handler    = "functions.authorizer.handler.handler"
      memory     = 512
      timeout    = 10
      uses_store = false
      may        = [local.may_read_keys]
      environment = {
        PGANALYTICS_KEYS_SECRET = aws_secretsmanager_secret.keys.arn
        PGANALYTICS_BIND_TOKENS = local.bind_tokens
      }
    }
    identity = {
      artifact   = "authorizer"
      handler    = "functions.authorizer.door.handler"
      memory     = 1024 # a password's hashing takes 64 MiB, and as much processor as there is
      timeout    = 29
      uses_store = true
      may        = [local.may_read_keys, local.may_read_authority, local.may_read_store]
      environment = {
        PGANALYTICS_KEYS_SECRET      = aws_secretsmanager_secret.keys.arn
        PGANALYTICS_AUTHORITY_SECRET = aws_secretsmanager_secret.authority.arn
        PGANALYTICS_BIND_TOKENS      = local.bind_tokens
      }
    }
    ingest = {
      artifact    = "ingest"
      handler     = "functions.ingest.door.handler"
      memory      = 1024
      timeout     = 29
      uses_store  = false
      may         = [local.may_write_batches]
      environment = { PGANALYTICS_BUCKET_URL = local.bucket_url }
    }
    loader = {
      artifact   = "ingest"
      handler    = "functions.ingest.loader.handler"
      memory     = 2048
      timeout    = local.loader_timeout
      uses_store = true
      may        = [local.may_take_messages, local.may_read_batches, local.may_list_batches, local.may_read_store]
      environment = {
        PGANALYTICS_BUCKET_URL          = local.bucket_url
        PGANALYTICS_KEEP_DAYS           = tostring(var.store_keep_days)
        PGANALYTICS_KEEP_DAYS_BY_METRIC = local.keep_days_by_metric
      }
    }
    reconcile = {
      artifact   = "ingest"
      handler    = "functions.ingest.reconcile.handler"
      memory     = 512
      timeout    = 900
      uses_store = true
      may        = [local.may_send_messages, local.may_list_batches, local.may_read_store]
      environment = {
        PGANALYTICS_BUCKET_URL          = local.bucket_url
        PGANALYTICS_QUEUE_URL           = aws_sqs_queue.batches.id
        PGANALYTICS_RECONCILE_DAYS      = tostring(var.reconcile_days)
        PGANALYTICS_KEEP_DAYS           = tostring(var.store_keep_days)
        PGANALYTICS_KEEP_DAYS_BY_METRIC = local.keep_days_by_metric
      }
    }
    config = {
      artifact    = "config"
      handler     = "functions.config.handler.handler"
      memory      = 512
      timeout     = 29
      uses_store  = true
      may         = [local.may_read_store]
      environment = {}
    }
    release = {
      artifact    = "config"
      handler     = "functions.config.advance_handler.handler"
      memory      = 512
      timeout     = 120
      uses_store  = true
      may         = [local.may_read_store]
      environment = {}
    }
    query = {
      artifact    = "query"
      handler     = "functions.query.handler.handler"
      memory      = 1024
      timeout     = 29
      uses_store  = true
      may         = [local.may_read_store]
      environment = {}
    }
    maintenance = {
      artifact   = "maintenance"
      handler    = "functions.maintenance.handler.handler"
      memory     = 512
      timeout    = 900
      uses_store = true
      may        = [local.may_read_store]
      environment = {
        PGANALYTICS_KEEP_DAYS            = tostring(var.store_keep_days)
        PGANALYTICS_KEEP_DAYS_BY_METRIC  = local.keep_days_by_metric
        PGANALYTICS_ROLLUP_KEEP_DAYS     = tostring(var.rollup_keep_days)
        PGANALYTICS_ROLLUP_SECONDS       = tostring(var.rollup_seconds)
        PGANALYTICS_QUARANTINE_KEEP_DAYS = tostring(var.quarantine_keep_days)
        PGANALYTICS_DEPLOYMENT           = var.name
      }
    }
    migrations = {
      artifact    = "migrations"
      handler     = "infra.database.handler.handler"
      memory      = 512
      timeout     = 900
      uses_store  = true
      may         = [local.may_read_store]
      environment = {}
    }
    rotation = {
      artifact   = "authorizer"
      handler    = "functions.authorizer.rotation_handler.handler"
      memory     = 512
      timeout    = 60
      uses_store = false
      may        = [local.may_rotate_keys, local.may_make_authority]
      environment = {
        PGANALYTICS_KEYS_SECRET      = aws_secretsmanager_secret.keys.arn
        PGANALYTICS_AUTHORITY_SECRET = aws_secretsmanager_secret.authority.arn
      }
    }
  }
}

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_keep_days
  tags              = local.tags
}

data "aws_iam_policy_document" "lambda" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "function" {
  for_each = local.functions

  name               = "${var.name}-${each.key}"
  description        = "What the function ${each.key} of ${var.name} may do."
  assume_role_policy = data.aws_iam_policy_document.lambda.json
  tags               = local.tags
}

data "aws_iam_policy_document" "function" {
  for_each = local.functions

  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.function[each.key].arn}:*"]
  }

  dynamic "statement" {
    for_each = concat(each.value.may, each.value.uses_store && local.network != null ? [local.may_join_network] : [])

    content {
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }
}

resource "aws_iam_role_policy" "function" {
  for_each = local.functions

  name   = "function"
  role   = aws_iam_role.function[each.key].id
  policy = data.aws_iam_policy_document.function[each.key].json
}

resource "aws_lambda_function" "this" {
  for_each = { for name, function in local.functions : name => function if !contains(local.invoked, name) }

  function_name    = "${var.name}-${each.key}"
  role             = aws_iam_role.function[each.key].arn
  filename         = "${var.artifacts}/${each.value.artifact}.zip"
  source_code_hash = filebase64sha256("${var.artifacts}/${each.value.artifact}.zip")
  handler          = each.value.handler
  runtime          = "python${var.python}"
  architectures    = [var.architecture]
  memory_size      = each.value.memory
  timeout          = each.value.timeout
  layers           = each.value.uses_store ? var.layers : []
  tags             = local.tags

  reserved_concurrent_executions = lookup(local.concurrency, each.key, -1)

  environment {
    variables = merge(each.value.environment, each.value.uses_store ? local.store_environment : {})
  }

  dynamic "vpc_config" {
    for_each = each.value.uses_store ? local.network[*] : []

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  depends_on = [
    aws_cloudwatch_log_group.function, aws_iam_role_policy.function,
    aws_lambda_invocation.migrations, # new code never meets an old schema
  ]
}
