output "url" {
  description = "Address of the HTTP API, for agents and operators."
  value       = aws_apigatewayv2_api.this.api_endpoint
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

output "functions" {
  description = "Names of the functions in Lambda, by what they do."
  value       = { for name, function in aws_lambda_function.this : name => function.function_name }
}
