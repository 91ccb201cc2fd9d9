output "url" {
  description = "Address of the HTTP API, for operators, for hosts that enrol, and for agents unless they have their own."
  value       = local.url

  depends_on = [aws_apigatewayv2_api_mapping.this]
}

output "agent_url" {
  description = "Address for agents that are enrolled."
  value       = local.agent_url

  depends_on = [aws_apigatewayv2_api_mapping.this]
}

output "domains" {
  description = "What the records of your domain names must lead to (CNAME, or an alias with the zone)."
  value = {
    for domain in aws_apigatewayv2_domain_name.this : domain.domain_name => {
      target = domain.domain_name_configuration[0].target_domain_name
      zone   = domain.domain_name_configuration[0].hosted_zone_id
    }
  }
}

output "bucket" {
  description = "Name of the bucket with the batches."
  value       = aws_s3_bucket.batches.id
}

output "queue_url" {
  description = "Queue between bucket and loader."
  value       = aws_sqs_queue.batches.url
}

output "dead_queue_url" {
  description = "Queue of the messages that the loader gave up."
  value       = aws_sqs_queue.dead.url
}

output "store_secret" {
  description = "ARN of the secret with the store's connection string, which you put; of a store that the module made, with RDS's name and password."
  value       = local.store_secret
}

output "keys_secret" {
  description = "ARN of the secret with the keys of access tokens."
  value       = aws_secretsmanager_secret.keys.arn
}

output "authority_secret" {
  description = "ARN of the secret with the authority of agents' certificates."
  value       = aws_secretsmanager_secret.authority.arn
}

output "functions" {
  description = "Names of the functions in Lambda, by what they do."
  value = {
    for function in merge(aws_lambda_function.this, aws_lambda_function.invoked) :
    trimprefix(function.function_name, "${var.name}-") => function.function_name
  }
}

output "migrations" {
  description = "What the last deployment's migrations answered: versions before and after, and those that ran; null where nobody asked."
  value       = one([for asked in aws_lambda_invocation.migrations : asked.result])
}

output "store_connections" {
  description = "Connections to the store at most, twice as many for some minutes after a deployment; null: not bounded (concurrency)."
  value       = var.concurrency == null ? null : var.loader_concurrency + sum(values(local.concurrency))
}

output "store_address" {
  description = "Host of the proxy before the store that the module made; null: you brought one."
  value       = one([for proxy in aws_db_proxy.store : proxy.endpoint])
}

output "alarm_topics" {
  description = "ARNs of the topics that alarms are told to."
  value       = local.alarm_topics
}

output "agent_policy_arn" {
  description = "ARN of the policy for roles of hosts whose agents have the transport s3."
  value       = aws_iam_policy.agents.arn
}

output "agent_tag" {
  description = "Tag that a role with that policy needs; its value is the agent's id."
  value       = local.agent_tag
}

# Hosts enrol at `url`, where the controller asks, too: with agent_domain, agents alone have another address.
output "ansible" {
  description = "Variables of the Ansible role agent, by transport: group_vars for your hosts."
  value = {
    for transport in ["http", "presigned", "s3"] : transport => merge(
      {
        pganalytics_agent_transport     = transport
        pganalytics_agent_server_url    = local.agent_url
        pganalytics_agent_enrolment_url = local.url
        pganalytics_agent_confirm_url   = local.url
      },
      transport != "s3" ? {} : {
        pganalytics_agent_bucket        = aws_s3_bucket.batches.id
        pganalytics_agent_bucket_region = local.region
      },
    )
  }

  depends_on = [aws_apigatewayv2_api_mapping.this]
}
