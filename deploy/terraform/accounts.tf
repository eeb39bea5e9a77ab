# Three accounts, each with what its part needs and nothing else. Nobody has a key.

resource "google_service_account" "worker" {
  account_id   = "tessera-worker"
  display_name = "Dataflow workers of tessera-mosaic"

  depends_on = [google_project_service.needed]
}

resource "google_service_account" "launcher" {
  account_id   = "tessera-launcher"
  display_name = "Launches, verifies and publishes tessera-mosaic"

  depends_on = [google_project_service.needed]
}

resource "google_service_account" "schedule" {
  account_id   = "tessera-schedule"
  display_name = "Starts the yearly rerun of tessera-mosaic"

  depends_on = [google_project_service.needed]
}

resource "google_project_iam_member" "project" {
  for_each = {
    "roles/dataflow.worker"    = google_service_account.worker.member
    "roles/dataflow.developer" = google_service_account.launcher.member
    "roles/logging.logWriter"  = google_service_account.schedule.member
  }

  project = var.project
  role    = each.key
  member  = each.value
}

resource "google_service_account_iam_member" "launcher_starts_workers" {
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.launcher.member
}

locals {
  makers = {
    worker   = google_service_account.worker.member
    launcher = google_service_account.launcher.member
  }

  written = {
    mosaic  = google_storage_bucket.mosaic.name
    scratch = google_storage_bucket.scratch.name
  }

  writes = {
    for pair in setproduct(keys(local.makers), keys(local.written)) :
    "${pair[0]}-${pair[1]}" => { member = local.makers[pair[0]], bucket = local.written[pair[1]] }
  }
}

resource "google_storage_bucket_iam_member" "writes" {
  for_each = local.writes

  bucket = each.value.bucket
  role   = "roles/storage.objectUser"
  member = each.value.member
}

# Beam looks at the bucket itself (its location and soft delete) before it stages into it.
resource "google_storage_bucket_iam_member" "looks" {
  for_each = local.makers

  bucket = google_storage_bucket.scratch.name
  role   = "roles/storage.legacyBucketReader"
  member = each.value
}

resource "google_storage_bucket_iam_member" "reads_assets" {
  for_each = local.makers

  bucket = google_storage_bucket.assets.name
  role   = "roles/storage.objectViewer"
  member = each.value
}

resource "google_artifact_registry_repository_iam_member" "pulls" {
  for_each = local.makers

  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = each.value
}
