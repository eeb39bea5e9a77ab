# Cloud Scheduler -> Workflows -> a Cloud Run job that runs `tessera-mosaic annual`, which launches
# the Dataflow job and waits for it.

locals {
  scheduled = var.image == "" ? 0 : 1
  store     = "gs://${google_storage_bucket.mosaic.name}/mosaic.zarr"
  scratch   = "gs://${google_storage_bucket.scratch.name}"

  arguments = concat(
    [
      "--catalog=${var.catalog}",
      "--region=${var.area}",
      "--store=${local.store}",
      "--runner=dataflow",
      "--project=${var.project}",
      "--gcp_region=${var.gcp_region}",
      "--temp_location=${local.scratch}/temp",
      "--staging_location=${local.scratch}/staging",
      "--service_account_email=${google_service_account.worker.email}",
      "--subnetwork=${local.subnetwork}",
      "--sdk_location=container",
      "--sdk_container_image=${var.image}",
      "--max_num_workers=${var.max_workers}",
      "--labels=app=tessera-mosaic",
      "--json",
    ],
    var.private_workers ? ["--no_use_public_ips"] : [],
    var.model_options,
    var.worker_options,
  )

  subnetwork = "regions/${var.gcp_region}/subnetworks/${google_compute_subnetwork.workers.name}"
}

resource "google_cloud_run_v2_job" "annual" {
  count = local.scheduled

  name                = "tessera-annual"
  location            = var.gcp_region
  deletion_protection = false

  template {
    template {
      service_account = google_service_account.launcher.email
      timeout         = "604800s"
      max_retries     = 0

      containers {
        image = var.image
        args  = concat(["tessera-mosaic", "annual"], local.arguments)

        resources {
          limits = {
            cpu    = "4"
            memory = "16Gi"
          }
        }
      }
    }
  }

  depends_on = [google_artifact_registry_repository_iam_member.pulls]
}

resource "google_workflows_workflow" "annual" {
  count = local.scheduled

  name                = "tessera-annual"
  region              = var.gcp_region
  description         = "Runs `tessera-mosaic annual`, again where it fails"
  service_account     = google_service_account.schedule.id
  call_log_level      = "LOG_ALL_CALLS"
  source_contents     = file("${path.module}/workflow.yaml")
  deletion_protection = false

  user_env_vars = {
    JOB = google_cloud_run_v2_job.annual[0].id
  }

  depends_on = [google_project_service.needed]
}

resource "google_cloud_scheduler_job" "annual" {
  count = local.scheduled

  name        = "tessera-annual"
  region      = var.gcp_region
  description = "Begins the yearly rerun of the mosaic"
  schedule    = var.schedule
  time_zone   = "Etc/UTC"

  http_target {
    http_method = "POST"
    uri         = "https://workflowexecutions.googleapis.com/v1/${google_workflows_workflow.annual[0].id}/executions"
    body        = base64encode(jsonencode({ argument = jsonencode({}) }))
    headers = {
      "Content-Type" = "application/json"
    }

    oauth_token {
      service_account_email = google_service_account.schedule.email
      scope                 = "https://www.googleapis.com/auth/cloud-platform"
    }
  }

  retry_config {
    retry_count = 3
  }
}

# It may run this job as it stands, with these arguments and no others.
resource "google_cloud_run_v2_job_iam_member" "schedule" {
  for_each = local.scheduled == 0 ? toset([]) : toset(["roles/run.jobsExecutor", "roles/run.viewer"])

  name     = google_cloud_run_v2_job.annual[0].name
  location = var.gcp_region
  role     = each.value
  member   = google_service_account.schedule.member
}

resource "google_project_iam_member" "schedule" {
  for_each = toset(["roles/run.viewer", "roles/workflows.invoker"])

  project = var.project
  role    = each.value
  member  = google_service_account.schedule.member
}
