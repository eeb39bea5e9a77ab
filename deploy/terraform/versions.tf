terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # terraform init -backend-config=bucket=BUCKET -backend-config=prefix=tessera-mosaic
  backend "gcs" {}
}

provider "google" {
  project = var.project
  region  = var.gcp_region

  # Budgets are asked for in the name of a project, also with a user's own credentials.
  billing_project       = var.project
  user_project_override = true

  default_labels = {
    app = "tessera-mosaic"
  }
}
