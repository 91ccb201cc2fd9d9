# The store, where the module is to make one: Aurora PostgreSQL Serverless v2 behind RDS Proxy.
#
# Functions are its master user: they own the schema (partitions come and go), nothing else is in this cluster, and RDS
# makes, keeps and rotates this password by itself, every seven days. Functions read it again when it is refused. Who
# wants a role for each function brings a database of their own, and a connection string.
#
# The proxy bounds and queues connections, and takes a failover upon itself. It does not share one among functions: what
# a session sets (timeouts), its prepared statements and its advisory locks pin it. `concurrency` is the true bound.

locals {
  made = var.database == null ? {} : { store = var.database }

  network = var.database == null ? var.network : {
    subnet_ids         = var.database.subnet_ids
    security_group_ids = [for group in aws_security_group.functions : group.id]
  }

  store_secret = one(concat(
    [for secret in aws_secretsmanager_secret.store : secret.arn],
    [for cluster in aws_rds_cluster.store : cluster.master_user_secret[0].secret_arn],
  ))

  # The proxy's certificate is of Amazon Trust Services, whose roots the SDK in the artifact brings along. What the
  # driver takes for the system's is a folder that Lambda does not have.
  store_at = join(" ", [
    for proxy in aws_db_proxy.store : join(" ", [
      "host=${proxy.endpoint} port=5432 dbname=${var.database.name}",
      "sslmode=verify-full sslrootcert=/var/task/botocore/cacert.pem",
    ])
  ])
}

resource "aws_db_subnet_group" "store" {
  for_each = local.made

  name       = "${var.name}-store"
  subnet_ids = each.value.subnet_ids
  tags       = local.tags
}

resource "aws_rds_cluster_parameter_group" "store" {
  for_each = local.made

  name        = "${var.name}-store"
  description = "The store of ${var.name}: TLS only."
  family      = "aurora-postgresql${split(".", each.value.engine_version)[0]}"
  tags        = local.tags

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}

resource "aws_cloudwatch_log_group" "store" {
  for_each = local.made

  name              = "/aws/rds/cluster/${var.name}-store/postgresql"
  retention_in_days = var.log_keep_days
  tags              = local.tags
}

resource "aws_rds_cluster" "store" {
  for_each = local.made

  cluster_identifier              = "${var.name}-store"
  engine                          = "aurora-postgresql"
  engine_version                  = each.value.engine_version
  database_name                   = each.value.name
  master_username                 = "pganalytics"
  manage_master_user_password     = true
  storage_encrypted               = true
  db_subnet_group_name            = aws_db_subnet_group.store[each.key].name
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.store[each.key].name
  vpc_security_group_ids          = [aws_security_group.database[each.key].id]
  backup_retention_period         = each.value.backup_days # and so far back to any second
  copy_tags_to_snapshot           = true
  deletion_protection             = each.value.protected
  skip_final_snapshot             = !each.value.protected
  final_snapshot_identifier       = each.value.protected ? "${var.name}-store-last" : null
  enabled_cloudwatch_logs_exports = ["postgresql"]
  tags                            = local.tags

  serverlessv2_scaling_configuration {
    min_capacity = each.value.min_capacity
    max_capacity = each.value.max_capacity
  }

  lifecycle {
    ignore_changes = [engine_version] # RDS brings minor versions by itself

    precondition {
      condition     = var.network == null
      error_message = "network: with database, functions are in its subnets; leave network out."
    }
  }

  depends_on = [aws_cloudwatch_log_group.store]
}

resource "aws_rds_cluster_instance" "store" {
  for_each = { for number in range(try(var.database.instances, 0)) : tostring(number) => "store" }

  identifier                   = "${var.name}-store-${each.key}"
  cluster_identifier           = aws_rds_cluster.store[each.value].id
  engine                       = aws_rds_cluster.store[each.value].engine
  instance_class               = "db.serverless"
  publicly_accessible          = false
  performance_insights_enabled = true
  auto_minor_version_upgrade   = true
  tags                         = local.tags
}

data "aws_iam_policy_document" "rds" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["rds.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "proxy" {
  for_each = local.made

  name               = "${var.name}-store-proxy"
  description        = "Lets the proxy of ${var.name} read the password that it checks and uses."
  assume_role_policy = data.aws_iam_policy_document.rds.json
  tags               = local.tags
}

data "aws_iam_policy_document" "proxy" {
  for_each = local.made

  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [local.store_secret]
  }
}

resource "aws_iam_role_policy" "proxy" {
  for_each = local.made

  name   = "proxy"
  role   = aws_iam_role.proxy[each.key].id
  policy = data.aws_iam_policy_document.proxy[each.key].json
}

resource "aws_db_proxy" "store" {
  for_each = local.made

  name                   = "${var.name}-store"
  engine_family          = "POSTGRESQL"
  require_tls            = true
  role_arn               = aws_iam_role.proxy[each.key].arn
  vpc_subnet_ids         = each.value.subnet_ids
  vpc_security_group_ids = [aws_security_group.proxy[each.key].id]
  tags                   = local.tags

  auth {
    auth_scheme               = "SECRETS"
    client_password_auth_type = "POSTGRES_SCRAM_SHA_256"
    iam_auth                  = "DISABLED"
    secret_arn                = local.store_secret
  }

  depends_on = [aws_iam_role_policy.proxy]
}

resource "aws_db_proxy_default_target_group" "store" {
  for_each = local.made

  db_proxy_name = aws_db_proxy.store[each.key].name

  connection_pool_config {
    max_connections_percent   = 80 # the rest is for who looks into the database by hand
    connection_borrow_timeout = 10 # API Gateway waits no longer than 30 seconds for all
  }
}

resource "aws_db_proxy_target" "store" {
  for_each = local.made

  db_proxy_name         = aws_db_proxy.store[each.key].name
  target_group_name     = aws_db_proxy_default_target_group.store[each.key].name
  db_cluster_identifier = aws_rds_cluster.store[each.key].id
}

# Functions reach the proxy, the proxy reaches the database, and nobody else reaches either but who is named.

resource "aws_security_group" "functions" {
  for_each = local.made

  name        = "${var.name}-functions"
  description = "Functions of ${var.name} that use the store"
  vpc_id      = each.value.vpc_id
  tags        = local.tags
}

resource "aws_security_group" "proxy" {
  for_each = local.made

  name        = "${var.name}-store-proxy"
  description = "Proxy before the store of ${var.name}"
  vpc_id      = each.value.vpc_id
  tags        = local.tags
}

resource "aws_security_group" "database" {
  for_each = local.made

  name        = "${var.name}-store"
  description = "Store of ${var.name}"
  vpc_id      = each.value.vpc_id
  tags        = local.tags
}

resource "aws_vpc_security_group_egress_rule" "functions" {
  for_each = local.made

  security_group_id            = aws_security_group.functions[each.key].id
  referenced_security_group_id = aws_security_group.proxy[each.key].id
  description                  = "The store"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

# S3, Secrets Manager and SQS have no addresses of their own; an endpoint or a NAT leads there.
resource "aws_vpc_security_group_egress_rule" "services" {
  for_each = local.made

  security_group_id = aws_security_group.functions[each.key].id
  cidr_ipv4         = "0.0.0.0/0"
  description       = "AWS services, TLS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "proxy" {
  for_each = local.made

  security_group_id            = aws_security_group.proxy[each.key].id
  referenced_security_group_id = aws_security_group.functions[each.key].id
  description                  = "Functions"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_ingress_rule" "operators" {
  for_each = toset(try(var.database.reached_by, []))

  security_group_id            = aws_security_group.proxy["store"].id
  referenced_security_group_id = each.value
  description                  = "Operators"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "proxy" {
  for_each = local.made

  security_group_id            = aws_security_group.proxy[each.key].id
  referenced_security_group_id = aws_security_group.database[each.key].id
  description                  = "The database"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  for_each = local.made

  security_group_id            = aws_security_group.database[each.key].id
  referenced_security_group_id = aws_security_group.proxy[each.key].id
  description                  = "The proxy"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}
