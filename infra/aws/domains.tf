# Names of one's own for the API. Where a name asks for client certificates, API Gateway lets nobody in without one: so
# agents have a name to themselves, and hosts that enrol, and operators, come by the other, or by the API's own address.

locals {
  authorities = var.agent_domain == null ? {} : { agents = var.agent_domain.authorities }

  url       = var.domain == null ? aws_apigatewayv2_api.this.api_endpoint : "https://${var.domain.name}"
  agent_url = var.agent_domain == null ? local.url : "https://${var.agent_domain.name}"

  domains = merge(
    var.domain == null ? {} : { open = merge(var.domain, { mutual = false }) },
    var.agent_domain == null ? {} : {
      agents = { name = var.agent_domain.name, certificate_arn = var.agent_domain.certificate_arn, mutual = true }
    },
  )
}

# The authorities' certificates, without their keys: no secret. The bucket keeps versions, and the domain is told which.

resource "aws_s3_bucket" "truststore" {
  for_each = local.authorities

  bucket = "${var.name}-truststore-${local.account}-${data.aws_region.current.name}"
  tags   = local.tags
}

resource "aws_s3_bucket_public_access_block" "truststore" {
  for_each = local.authorities

  bucket                  = aws_s3_bucket.truststore[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "truststore" {
  for_each = local.authorities

  bucket = aws_s3_bucket.truststore[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "truststore" {
  for_each = local.authorities

  bucket = aws_s3_bucket.truststore[each.key].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_object" "truststore" {
  for_each = local.authorities

  bucket       = aws_s3_bucket_versioning.truststore[each.key].bucket
  key          = "truststore.pem"
  content      = each.value
  content_type = "application/x-pem-file"
  tags         = local.tags
}

resource "aws_apigatewayv2_domain_name" "this" {
  for_each = local.domains

  domain_name = each.value.name
  tags        = local.tags

  domain_name_configuration {
    certificate_arn = each.value.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2" # the least that an HTTP API can be told
  }

  dynamic "mutual_tls_authentication" {
    for_each = each.value.mutual ? values(aws_s3_object.truststore) : []

    content {
      truststore_uri     = "s3://${mutual_tls_authentication.value.bucket}/${mutual_tls_authentication.value.key}"
      truststore_version = mutual_tls_authentication.value.version_id
    }
  }
}

resource "aws_apigatewayv2_api_mapping" "this" {
  for_each = local.domains

  api_id      = aws_apigatewayv2_api.this.id
  domain_name = aws_apigatewayv2_domain_name.this[each.key].domain_name
  stage       = aws_apigatewayv2_stage.default.name
}
