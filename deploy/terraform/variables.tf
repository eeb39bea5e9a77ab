variable "project" {
  description = "Id of the Google Cloud project. It has to exist and to have billing."
  type        = string
}

variable "gcp_region" {
  description = "Cloud region of everything. Choose one that has the GPUs and is near the imagery."
  type        = string
  default     = "europe-west4"
}

variable "image" {
  description = "Image with its digest, as deploy/build.sh prints it. Empty until it is built: then there is no schedule yet."
  type        = string
  default     = ""

  validation {
    condition     = var.image == "" || strcontains(var.image, "@sha256:")
    error_message = "Name the image by its digest (...@sha256:...), so that launcher and workers run the same."
  }
}

variable "catalog" {
  description = "Catalogue of the scheduled run, as `--catalog` takes it."
  type        = string
  default     = "planetary-computer"
}

variable "area" {
  description = "Part of the Earth that the scheduled run maps, as `--region` takes it."
  type        = string
  default     = "global"
}

variable "model_options" {
  description = "Options of the scheduled run that name the encoder, such as --model and --weights."
  type        = list(string)

  validation {
    condition     = length(var.model_options) > 0
    error_message = "Name the encoder's weights: a mosaic of untrained weights is worth nothing."
  }
}

variable "worker_options" {
  description = "Options of the scheduled run for its workers (python -m deploy.presets PRESET)."
  type        = list(string)
}

variable "max_workers" {
  description = "Most workers at a time. No more than the quota of GPUs."
  type        = number
  default     = 8
}

variable "private_workers" {
  description = "Whether scheduled workers have no public address. NAT bills what they read: see deploy/README.md."
  type        = bool
  default     = true
}

variable "schedule" {
  description = "When the yearly rerun begins, as a cron line in UTC. Later times take up what was left."
  type        = string
  default     = "0 6 15 1-3 *"
}

variable "alert_email" {
  description = "Who gets the alerts."
  type        = string
}

variable "billing_account" {
  description = "Billing account of the budget. Empty for no budget."
  type        = string
  default     = ""
}

variable "budget" {
  description = "Money a month at which the budget alerts, in the billing account's currency."
  type        = number
  default     = 1000
}

variable "public_mosaic" {
  description = "Whether there is a bucket that anybody may read, for a copy of the mosaic without its records."
  type        = bool
  default     = false
}
