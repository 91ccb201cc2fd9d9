# Values are put by hand, or made by functions (deploy.tf): Terraform's state never has them.

# Of a store that is there already. RDS keeps the secret of one that the module makes.
resource "aws_secretsmanager_secret" "store" {
  for_each = toset(var.database == null ? ["given"] : [])

  name                    = "${var.name}/store-dsn"
  description             = "Connection string of the store, as libpq reads it."
  recovery_window_in_days = var.secret_recovery_days
  tags                    = local.tags
}

resource "aws_secretsmanager_secret" "keys" {
  name                    = "${var.name}/token-keys"
  description             = "Keys that sign and verify access tokens, as pganalytics keys writes them."
  recovery_window_in_days = var.secret_recovery_days
  tags                    = local.tags
}

resource "aws_secretsmanager_secret" "authority" {
  name                    = "${var.name}/authority"
  description             = "Authority that signs agents' certificates, as pganalytics authority create writes it."
  recovery_window_in_days = var.secret_recovery_days
  tags                    = local.tags
}
