locals {
  day = 86400
}

# The mosaic. Shards are replaced whole, so soft delete is what brings back a slip.
resource "google_storage_bucket" "mosaic" {
  name                        = "${var.project}-tessera-mosaic"
  location                    = var.gcp_region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  soft_delete_policy {
    retention_duration_seconds = 14 * local.day
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  depends_on = [google_project_service.needed]
}

# What anybody may read is a bucket of its own, into which deploy/share.sh copies the mosaic without
# its records: Cloud Storage gives the public all of a bucket or nothing, as no condition applies to
# it, and records name scenes, machines and what failed.
resource "google_storage_bucket" "public" {
  count = var.public_mosaic ? 1 : 0

  name                        = "${var.project}-tessera-public"
  location                    = var.gcp_region
  uniform_bucket_level_access = true
  public_access_prevention    = "inherited"

  depends_on = [google_project_service.needed]
}

resource "google_storage_bucket_iam_member" "public_mosaic" {
  count = var.public_mosaic ? 1 : 0

  bucket = google_storage_bucket.public[0].name
  role   = "roles/storage.objectViewer"
  member = "allUsers"
}

locals {
  public_store = var.public_mosaic ? "gs://${google_storage_bucket.public[0].name}/mosaic.zarr" : ""
}

# What a job stages and throws away. A job may run for weeks with what it staged at its start.
resource "google_storage_bucket" "scratch" {
  name                        = "${var.project}-tessera-scratch"
  location                    = var.gcp_region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  # Deleted files of jobs would be paid for a week longer, and Beam warns of it.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 60
    }
  }

  depends_on = [google_project_service.needed]
}

# Templates, weights and region files: small, read by every worker, changed by people.
resource "google_storage_bucket" "assets" {
  name                        = "${var.project}-tessera-assets"
  location                    = var.gcp_region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 30 * local.day
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      num_newer_versions = 10
    }
  }

  depends_on = [google_project_service.needed]
}
