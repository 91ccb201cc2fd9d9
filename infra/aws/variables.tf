variable "name" {
  description = "Name of this deployment; every resource's name begins with it."
  type        = string
  default     = "pganalytics"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.name))
    error_message = "name: 2 to 24 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "tags" {
  description = "Tags of every resource, beside Application and Deployment."
  type        = map(string)
  default     = {}
}

variable "artifacts" {
  description = "Folder with the functions' zips, as `make artifacts` writes them."
  type        = string
}

variable "architecture" {
  description = "Architecture that the artifacts were built for (--arch)."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture: arm64 or x86_64."
  }
}

variable "python" {
  description = "Python that the artifacts were built for (--python)."
  type        = string
  default     = "3.13"

  validation {
    condition     = can(regex("^3\\.1[1-9]$", var.python))
    error_message = "python: 3.11 or newer, such as 3.13."
  }
}

variable "network" {
  description = "Subnets and security groups from which a store of your own is reached; null: it has a public address. These subnets need a way to S3, Secrets Manager and SQS: a NAT, or a gateway endpoint for S3 and interface endpoints for secretsmanager and sqs."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null

  validation {
    condition     = var.network == null ? true : length(var.network.subnet_ids) > 0 && length(var.network.security_group_ids) > 0
    error_message = "network: at least one subnet and one security group."
  }
}

variable "database" {
  description = <<-EOT
    A store that the module makes: Aurora PostgreSQL Serverless v2 with RDS Proxy, in a VPC of yours. null: you bring a
    PostgreSQL, and put its connection string into the secret (output store_secret).
    vpc_id, subnet_ids: at least two subnets in two zones, without a public address, for database, proxy and functions;
    they need a way to S3, Secrets Manager and SQS: a NAT, or a gateway endpoint for S3 and interface endpoints for
    secretsmanager and sqs. name: of the database. engine_version: of the first day; RDS brings minor versions, and a
    major one you bring. min_capacity, max_capacity: in ACU (2 GiB each). instances: 2 or more take over from one another.
    backup_days: how far back it can be restored, to the second. protected: it cannot be deleted, and leaves a snapshot;
    before you tear down, apply false. reached_by: security groups besides the functions' that may reach the proxy, such
    as that of a host on which you make the first admin.
    Functions are told the password by the secret that RDS makes and rotates; migrations run at each deployment.
  EOT
  type = object({
    vpc_id         = string
    subnet_ids     = list(string)
    name           = optional(string, "pganalytics")
    engine_version = optional(string, "17.5")
    min_capacity   = optional(number, 0.5)
    max_capacity   = optional(number, 8)
    instances      = optional(number, 2)
    backup_days    = optional(number, 14)
    protected      = optional(bool, true)
    reached_by     = optional(list(string), [])
  })
  default = null

  validation {
    condition     = var.database == null ? true : length(var.database.subnet_ids) >= 2 && can(regex("^vpc-", var.database.vpc_id))
    error_message = "database: vpc_id, such as vpc-0123, and at least two subnets of it in two zones."
  }

  validation {
    condition     = var.database == null ? true : can(regex("^[a-z_][a-z0-9_]{0,62}$", var.database.name)) && can(regex("^1[4-8][.][0-9]+$", var.database.engine_version))
    error_message = "database: name in lower-case letters, digits and underscores; engine_version 14 to 18 with its minor version, such as 17.5."
  }

  validation {
    condition     = var.database == null ? true : var.database.min_capacity >= 0.5 && var.database.max_capacity >= max(1, var.database.min_capacity) && var.database.max_capacity <= 256
    error_message = "database: min_capacity from 0.5, max_capacity from 1 to 256 and no less than min_capacity. (0 would not pause: the proxy keeps connections.)"
  }

  validation {
    condition     = var.database == null ? true : contains(range(1, 17), var.database.instances) && contains(range(1, 36), var.database.backup_days)
    error_message = "database: instances from 1 to 16, backup_days from 1 to 35."
  }
}

variable "migrate" {
  description = "Whether each deployment with new migrations runs them, before its functions are new; null: where the module makes the store. With a store of your own say true once its connection string is in the secret: before, the deployment fails."
  type        = bool
  default     = null
}

variable "layers" {
  description = "ARNs of layers for the functions that use the store; what is in one stands in /opt, such as a file of authorities for sslrootcert=/opt/... of your connection string (RDS's own: global-bundle.pem). Public ones are in the artifact: sslrootcert=/var/task/botocore/cacert.pem."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.layers) <= 5 && alltrue([for arn in var.layers : can(regex("^arn:[a-z-]+:lambda:", arn))])
    error_message = "layers: at most 5 ARNs of versions of layers."
  }
}

variable "bucket" {
  description = "Name of the bucket; null: made of the deployment's name, the account and the region."
  type        = string
  default     = null
}

variable "bucket_keep_days" {
  description = "Days after which batches leave the bucket; null: never. What is gone cannot be loaded again."
  type        = number
  default     = 90

  validation {
    condition     = var.bucket_keep_days == null ? true : var.bucket_keep_days >= 1 && floor(var.bucket_keep_days) == var.bucket_keep_days
    error_message = "bucket_keep_days: a whole number from 1, or null."
  }
}

variable "bucket_cold" {
  description = "Class of storage that batches move to, and after how many days; replay reads both classes at once. null: none. Moving costs a request an object: at the list prices of us-east-1 of 2025, a batch of 240 KB has to stay some 4 months in either class to pay for it, and one under 128 KiB never moves. Say bucket_keep_days of half a year or more with it, or null."
  type = object({
    after_days = number
    class      = optional(string, "GLACIER_IR")
  })
  default = null

  validation {
    condition     = var.bucket_cold == null ? true : contains(["GLACIER_IR", "STANDARD_IA"], var.bucket_cold.class)
    error_message = "bucket_cold: class GLACIER_IR or STANDARD_IA; any other could not be read at once, or is in one zone only."
  }

  validation {
    condition     = var.bucket_cold == null ? true : var.bucket_cold.after_days >= (var.bucket_cold.class == "STANDARD_IA" ? 30 : 1) && floor(var.bucket_cold.after_days) == var.bucket_cold.after_days
    error_message = "bucket_cold: after_days is a whole number from 1; from 30 for STANDARD_IA."
  }
}

variable "store_keep_days" {
  description = "Days after which partitions leave the store."
  type        = number
  default     = 30

  validation {
    condition     = var.store_keep_days >= 1 && var.store_keep_days <= 3650 && floor(var.store_keep_days) == var.store_keep_days
    error_message = "store_keep_days: a whole number from 1 to 3650."
  }
}

variable "reconcile_days" {
  description = "Days, today included, over which batches that were never loaded are looked for every hour."
  type        = number
  default     = 2

  validation {
    condition     = var.reconcile_days >= 1 && var.reconcile_days <= 3650 && floor(var.reconcile_days) == var.reconcile_days
    error_message = "reconcile_days: a whole number from 1 to 3650."
  }
}

variable "store_keep_days_by_metric" {
  description = "Days after which partitions of these metrics leave the store, such as { activity = 7, statement_text = 90 }."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for days in values(var.store_keep_days_by_metric) : days >= 1 && days <= 3650 && floor(days) == days])
    error_message = "store_keep_days_by_metric: whole numbers from 1 to 3650."
  }
}

variable "rollup_keep_days" {
  description = "Days after which hourly rollups leave the store, by the month."
  type        = number
  default     = 400

  validation {
    condition     = var.rollup_keep_days >= 1 && var.rollup_keep_days <= 3650 && floor(var.rollup_keep_days) == var.rollup_keep_days
    error_message = "rollup_keep_days: a whole number from 1 to 3650."
  }
}

variable "rollup_seconds" {
  description = "Seconds that one run of the rollup may take, every five minutes; what is left then is for the next."
  type        = number
  default     = 60

  validation {
    condition     = var.rollup_seconds >= 1 && var.rollup_seconds <= 800 && floor(var.rollup_seconds) == var.rollup_seconds
    error_message = "rollup_seconds: a whole number from 1 to 800."
  }
}

variable "quarantine_keep_days" {
  description = "Days after which the store forgets what it could not load; the objects stay in the bucket."
  type        = number
  default     = 90

  validation {
    condition     = var.quarantine_keep_days >= 1 && var.quarantine_keep_days <= 3650 && floor(var.quarantine_keep_days) == var.quarantine_keep_days
    error_message = "quarantine_keep_days: a whole number from 1 to 3650."
  }
}

variable "loader_concurrency" {
  description = "Loaders at the same time; each holds one connection to the store."
  type        = number
  default     = 4

  validation {
    condition     = var.loader_concurrency >= 2 && var.loader_concurrency <= 1000 && floor(var.loader_concurrency) == var.loader_concurrency
    error_message = "loader_concurrency: a whole number from 2 (Lambda's least) to 1000."
  }
}

variable "concurrency" {
  description = "Runs at the same time, at most, of the functions that answer requests from the store; each holds one connection (output store_connections). What comes beyond is answered with an error of API Gateway's, and agents come again. They take this out of the account's quota of Lambda, which has to leave 100 over: null bounds nothing, for accounts with less."
  type = object({
    identity = optional(number, 10)
    config   = optional(number, 20)
    query    = optional(number, 10)
  })
  default = {}

  validation {
    condition     = var.concurrency == null ? true : alltrue([for runs in values(var.concurrency) : runs >= 1 && runs <= 1000 && floor(runs) == runs])
    error_message = "concurrency: whole numbers from 1 to 1000."
  }
}

variable "loader_receives" {
  description = "Turns a message has before it is put aside as a dead letter. Half an hour lies between two: 100 outlast two days without a store."
  type        = number
  default     = 100

  validation {
    condition     = var.loader_receives >= 5 && var.loader_receives <= 300 && floor(var.loader_receives) == var.loader_receives
    error_message = "loader_receives: a whole number from 5 to 300."
  }
}

variable "requests_per_second" {
  description = "Requests that the API takes in a second; beyond, API Gateway answers 429 and agents come again."
  type        = number
  default     = 500

  validation {
    condition     = var.requests_per_second >= 1 && floor(var.requests_per_second) == var.requests_per_second
    error_message = "requests_per_second: a whole number from 1."
  }
}

variable "logins_per_second" {
  description = "Logins, and changes of one's own password, that the API takes in a second; each hashes a password."
  type        = number
  default     = 10

  validation {
    condition     = var.logins_per_second >= 1 && floor(var.logins_per_second) == var.logins_per_second
    error_message = "logins_per_second: a whole number from 1."
  }
}

variable "authorizer_cache_seconds" {
  description = "Seconds that API Gateway keeps the authorizer's answer to a token on a route; 0: none. So much longer a token may pass after it has expired, after its agent was revoked, or after its key was dropped; and a denial stands as long. An agent asks each of its routes about once a minute: 60 spares operators' calls, 300 four of five of the agents'. With agent_domain it is always 0: an answer would hold for any certificate."
  type        = number
  default     = 60

  validation {
    condition     = var.authorizer_cache_seconds >= 0 && var.authorizer_cache_seconds <= 900 && floor(var.authorizer_cache_seconds) == var.authorizer_cache_seconds
    error_message = "authorizer_cache_seconds: a whole number from 0 to 900, a token's own time."
  }
}

variable "domain" {
  description = "Name of your own for the API, with its certificate in Certificate Manager; null: API Gateway's address, which is closed otherwise."
  type = object({
    name            = string
    certificate_arn = string
  })
  default = null

  validation {
    condition     = var.domain == null ? true : can(regex("^[a-z0-9-]+([.][a-z0-9-]+)+$", var.domain.name)) && can(regex("^arn:[a-z-]+:acm:", var.domain.certificate_arn))
    error_message = "domain: a name such as pganalytics.example.org, and the ARN of its certificate in Certificate Manager."
  }
}

variable "agent_domain" {
  description = "Another name, for agents only, that lets in who shows a client certificate of these authorities (PEM, as `pganalytics authority show` prints them). With it an agent's token is good with its certificate only. null: no client certificates."
  type = object({
    name            = string
    certificate_arn = string
    authorities     = string
  })
  default = null

  validation {
    condition     = var.agent_domain == null ? true : can(regex("^[a-z0-9-]+([.][a-z0-9-]+)+$", var.agent_domain.name)) && can(regex("^arn:[a-z-]+:acm:", var.agent_domain.certificate_arn))
    error_message = "agent_domain: a name such as agents.example.org, and the ARN of its certificate in Certificate Manager."
  }

  validation {
    condition     = var.agent_domain == null ? true : can(regex("-----BEGIN CERTIFICATE-----", var.agent_domain.authorities)) && !can(regex("PRIVATE KEY", var.agent_domain.authorities))
    error_message = "agent_domain: authorities are certificates in PEM, and no private key."
  }
}

variable "log_keep_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_keep_days)
    error_message = "log_keep_days: one of the periods that CloudWatch Logs knows, such as 7, 14, 30, 90 or 365."
  }
}

variable "secret_recovery_days" {
  description = "Days in which a deleted secret can be had back; 0: none."
  type        = number
  default     = 30

  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30)
    error_message = "secret_recovery_days: 0, or from 7 to 30."
  }
}

variable "keys_rotation_days" {
  description = "Days after which the keys of access tokens are rotated by themselves, with an overlap that no token notices; null: by hand."
  type        = number
  default     = 30

  validation {
    condition     = var.keys_rotation_days == null ? true : var.keys_rotation_days >= 1 && var.keys_rotation_days <= 365 && floor(var.keys_rotation_days) == var.keys_rotation_days
    error_message = "keys_rotation_days: a whole number from 1 to 365, or null."
  }
}

variable "alarm_topics" {
  description = "ARNs of the SNS topics that alarms are told to; none: the module makes one, encrypted (output alarm_topics)."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.alarm_topics : can(regex("^arn:[a-z-]+:sns:", arn))])
    error_message = "alarm_topics: ARNs of SNS topics."
  }
}

variable "alarm_emails" {
  description = "Addresses that the first of the alarms' topics sends mail to, once they have agreed."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "alarm_emails: addresses such as dba@example.org."
  }
}

variable "silent_agents" {
  description = "Agents that may be silent without an alarm, for a quarter of an hour: those that are enrolled and not revoked, or were heard of within a week, and have missed three uploads."
  type        = number
  default     = 0

  validation {
    condition     = var.silent_agents >= 0 && floor(var.silent_agents) == var.silent_agents
    error_message = "silent_agents: a whole number from 0."
  }
}
