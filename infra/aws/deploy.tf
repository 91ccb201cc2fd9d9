# What a deployment does first: the store's schema, and values of secrets that nobody has put.

resource "aws_lambda_function" "invoked" {
  for_each = { for name, function in local.functions : name => function if contains(local.invoked, name) }

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

  depends_on = [aws_cloudwatch_log_group.function, aws_iam_role_policy.function]
}

# Fails the apply where a migration fails; the functions are then what they were.
resource "aws_lambda_invocation" "migrations" {
  for_each = coalesce(var.migrate, var.database != null) ? { store = local.store_secret } : {}

  function_name = aws_lambda_function.invoked["migrations"].function_name
  input         = jsonencode({})

  triggers = {
    code  = aws_lambda_function.invoked["migrations"].source_code_hash
    store = each.value
  }

  depends_on = [
    aws_db_proxy_target.store, aws_rds_cluster_instance.store,
    aws_vpc_security_group_egress_rule.functions, aws_vpc_security_group_ingress_rule.proxy,
    aws_vpc_security_group_egress_rule.proxy, aws_vpc_security_group_ingress_rule.database,
  ]
}

# Keys of access tokens and the authority of certificates are made where there are none; what was put by hand stands.
resource "aws_lambda_invocation" "secrets" {
  function_name = aws_lambda_function.invoked["rotation"].function_name
  input         = jsonencode({ begin = true })

  triggers = {
    keys      = aws_secretsmanager_secret.keys.arn
    authority = aws_secretsmanager_secret.authority.arn
  }
}

resource "aws_lambda_permission" "rotation" {
  statement_id   = "secretsmanager"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.invoked["rotation"].function_name
  principal      = "secretsmanager.amazonaws.com"
  source_account = local.account
  source_arn     = aws_secretsmanager_secret.keys.arn
}

resource "aws_secretsmanager_secret_rotation" "keys" {
  for_each = { for days in var.keys_rotation_days[*] : "keys" => days }

  secret_id           = aws_secretsmanager_secret.keys.id
  rotation_lambda_arn = aws_lambda_function.invoked["rotation"].arn
  rotate_immediately  = false # the first keys are as new as the next would be

  rotation_rules {
    automatically_after_days = each.value
  }

  depends_on = [aws_lambda_permission.rotation, aws_lambda_invocation.secrets]
}
