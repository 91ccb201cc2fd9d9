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
  description = "Subnets and security groups from which the store is reached; null: the store has a public address. These subnets need a way to S3 and Secrets Manager (endpoints or NAT)."
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

variable "alarm_topics" {
  description = "ARNs of the SNS topics that alarms are told to."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.alarm_topics : can(regex("^arn:[a-z-]+:sns:", arn))])
    error_message = "alarm_topics: ARNs of SNS topics."
  }
}
