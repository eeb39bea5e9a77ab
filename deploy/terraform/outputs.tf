output "settings" {
  description = "What deploy/build.sh and deploy/launch.sh have to know."
  value = {
    project        = var.project
    gcp_region     = var.gcp_region
    repository     = "${var.gcp_region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.name}"
    store          = local.store
    scratch        = local.scratch
    template       = "gs://${google_storage_bucket.assets.name}/templates/tessera-mosaic.json"
    worker_account = google_service_account.worker.email
    subnetwork     = local.subnetwork
    max_workers    = tostring(var.max_workers)
    public_store   = local.public_store
  }
}

output "arguments" {
  description = "Those of the scheduled command, for deploy/again.sh."
  value       = local.arguments
}
