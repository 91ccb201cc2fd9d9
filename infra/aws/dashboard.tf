# One page: what comes in, what waits, who runs, who is silent, how the store is.

locals {
  # As functions/maintenance/handler.py tells them.
  figures = { namespace = "pgAnalytics" }

  region = data.aws_region.current.name

  names = { for name in keys(local.functions) : name => "${var.name}-${name}" }

  charts = concat(
    [
      {
        title = "Agents"
        stat  = "Maximum"
        metrics = [
          [local.figures.namespace, "Agents", "Deployment", var.name],
          [local.figures.namespace, "SilentAgents", "Deployment", var.name],
        ]
      },
      {
        title = "Requests, and those answered with an error"
        stat  = "Sum"
        metrics = [
          ["AWS/ApiGateway", "Count", "ApiId", aws_apigatewayv2_api.this.id],
          ["AWS/ApiGateway", "4xx", "ApiId", aws_apigatewayv2_api.this.id],
          ["AWS/ApiGateway", "5xx", "ApiId", aws_apigatewayv2_api.this.id],
        ]
      },
      {
        title = "Latency of 99 of 100 requests (ms)"
        stat  = "p99"
        metrics = [
          ["AWS/ApiGateway", "Latency", "ApiId", aws_apigatewayv2_api.this.id],
          ["AWS/ApiGateway", "IntegrationLatency", "ApiId", aws_apigatewayv2_api.this.id],
        ]
      },
      {
        title = "Batches that wait, and dead letters"
        stat  = "Maximum"
        metrics = [
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.batches.name],
          ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", aws_sqs_queue.batches.name],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dead.name],
        ]
      },
      {
        title   = "Age of the oldest batch that waits (s)"
        stat    = "Maximum"
        metrics = [["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", aws_sqs_queue.batches.name]]
      },
    ],
    [
      for chart in [
        { metric = "Errors", stat = "Sum", title = "Errors of functions" },
        { metric = "Throttles", stat = "Sum", title = "Throttles of functions" },
        { metric = "Duration", stat = "p99", title = "Duration of 99 of 100 runs (ms)" },
        { metric = "ConcurrentExecutions", stat = "Maximum", title = "Runs at the same time" },
      ] :
      {
        title   = chart.title
        stat    = chart.stat
        metrics = [for name in values(local.names) : ["AWS/Lambda", chart.metric, "FunctionName", name]]
      }
    ],
    flatten([
      for cluster in aws_rds_cluster.store : [
        {
          title   = "The store's capacity (ACU)"
          stat    = "Maximum"
          metrics = [["AWS/RDS", "ServerlessDatabaseCapacity", "DBClusterIdentifier", cluster.cluster_identifier]]
        },
        {
          title = "Connections: of functions to the proxy, of the proxy to the store"
          stat  = "Maximum"
          metrics = [
            ["AWS/RDS", "ClientConnections", "ProxyName", "${var.name}-store"],
            ["AWS/RDS", "DatabaseConnections", "ProxyName", "${var.name}-store"],
          ]
        },
      ]
    ]),
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for place, chart in local.charts : {
        type   = "metric"
        width  = 12
        height = 6
        x      = place % 2 * 12
        y      = floor(place / 2) * 6

        properties = {
          title   = chart.title
          region  = local.region
          view    = "timeSeries"
          period  = 300
          stat    = chart.stat
          metrics = chart.metrics
        }
      }
    ]
  })
}
