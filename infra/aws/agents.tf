# What a host with a role of its own may do with the transport `s3`: make batches under its own prefix, and nothing else.
#
# The platform team attaches the policy to the hosts' roles, and tags each role (or its session) with the agent's id. A
# role without the tag may do nothing: a variable without a value matches no resource. No tag of IAM has an asterisk.

locals {
  agent_tag = "pganalytics:agent"
}

data "aws_iam_policy_document" "agents" {
  statement {
    sid       = "OwnBatches"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.batches.arn}/${local.batches}agent=$${aws:PrincipalTag/${local.agent_tag}}/*"]

    # Only with If-None-Match: what is there is never overwritten.
    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["false"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["true"]
    }
  }
}

resource "aws_iam_policy" "agents" {
  name        = "${var.name}-agents"
  description = "Agents of ${var.name} with the transport s3: new batches under the prefix of the principal's tag ${local.agent_tag}."
  policy      = data.aws_iam_policy_document.agents.json
  tags        = local.tags
}
