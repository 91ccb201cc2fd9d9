output "url" {
  description = "Address of the HTTP API, for operators, for hosts that enrol, and for agents unless they have their own."
  value       = var.domain == null ? aws_apigatewayv2_api.this.api_endpoint : "https://${var.domain.name}"

  depends_on = [aws_apigatewayv2_api_mapping.this]
}

output "agent_url" {
  description = "Address for agents that are enrolled."
  value = (
    var.agent_domain != null ? "https://${var.agent_domain.name}" :
    var.domain != null ? "https://${var.domain.name}" : aws_apigatewayv2_api.this.api_endpoint
  )

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
  description = "ARN of the secret that wants the store's connection string."
  value       = aws_secretsmanager_secret.store.arn
}

output "keys_secret" {
  description = "ARN of the secret that wants the keys of access tokens."
  value       = aws_secretsmanager_secret.keys.arn
}

output "authority_secret" {
  description = "ARN of the secret that wants the authority of agents' certificates."
  value       = aws_secretsmanager_secret.authority.arn
}

output "functions" {
  description = "Names of the functions in Lambda, by what they do."
  value       = { for name, function in aws_lambda_function.this : name => function.function_name }
}
