# Alerts and a dashboard on the job's own counters of tiles by state and of tries again, which
# Dataflow publishes as user counters. docs/operator.md says what to do about each alert.

locals {
  counter = "\"__name__\"=\"dataflow.googleapis.com/job/user_counter\""
  tiles   = "${local.counter}, \"metric_name\"=~\"tiles_(done|empty|failed)\""
  failed  = "${local.counter}, \"metric_name\"=\"tiles_failed\""
  vcpus   = "\"__name__\"=\"dataflow.googleapis.com/job/current_num_vcpus\""

  # PromQL that has to hold for so long, by name of the alert.
  watched = {
    "tiles fail" = {
      query    = <<-PROMQL
        sum(delta({${local.failed}}[30m])) / sum(delta({${local.tiles}}[30m])) > 0.05
      PROMQL
      duration = "600s"
      means    = "More than one tile in twenty failed in the last half hour."
    }
    "no progress" = {
      query    = <<-PROMQL
        (sum(delta({${local.tiles}}[1h])) or vector(0)) == 0 and on() sum({${local.vcpus}}) > 0
      PROMQL
      duration = "1800s"
      means    = "There are workers, and no tile was finished for an hour and a half."
    }
  }

  # Log entries, by name of the alert.
  logged = {
    "holes in the mosaic" = {
      filter = <<-FILTER
        resource.type="cloud_run_job" resource.labels.job_name="tessera-annual"
        jsonPayload.tiles>0 (jsonPayload.failed>0 OR jsonPayload.missing>0)
      FILTER
      means  = "The run ended with tiles that failed or were not tried."
    }
    "not published" = {
      filter = <<-FILTER
        resource.type="cloud_run_job" resource.labels.job_name="tessera-annual"
        jsonPayload.published=false
      FILTER
      means  = "The mosaic does not agree with its records, so it was not published."
    }
  }
}

resource "google_monitoring_notification_channel" "operator" {
  display_name = "Operator of tessera-mosaic"
  type         = "email"

  labels = {
    email_address = var.alert_email
  }

  depends_on = [google_project_service.needed]
}

resource "google_monitoring_alert_policy" "watched" {
  for_each = local.watched

  display_name          = "tessera-mosaic: ${each.key}"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.operator.id]

  conditions {
    display_name = each.key

    condition_prometheus_query_language {
      query               = each.value.query
      duration            = each.value.duration
      evaluation_interval = "60s"

      # Before the first job there are no such counters yet.
      disable_metric_validation = true
    }
  }

  documentation {
    content   = "${each.value.means} See docs/operator.md, \"${each.key}\"."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "logged" {
  for_each = local.logged

  display_name          = "tessera-mosaic: ${each.key}"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.operator.id]

  conditions {
    display_name = each.key

    condition_matched_log {
      filter = each.value.filter
    }
  }

  alert_strategy {
    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    content   = "${each.value.means} See docs/operator.md, \"${each.key}\"."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "job_failed" {
  display_name          = "tessera-mosaic: job failed"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.operator.id]

  conditions {
    display_name = "job failed"

    condition_threshold {
      filter          = "resource.type = \"dataflow_job\" AND metric.type = \"dataflow.googleapis.com/job/is_failed\" AND resource.label.job_name = starts_with(\"tessera-\")"
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    content   = "Dataflow gave the job up. See docs/operator.md, \"job failed\"."
    mime_type = "text/markdown"
  }
}

resource "google_monitoring_alert_policy" "schedule_failed" {
  display_name          = "tessera-mosaic: schedule failed"
  combiner              = "OR"
  notification_channels = [google_monitoring_notification_channel.operator.id]

  conditions {
    display_name = "schedule failed"

    condition_threshold {
      filter          = "resource.type = \"workflows.googleapis.com/Workflow\" AND metric.type = \"workflows.googleapis.com/finished_execution_count\" AND metric.label.status = \"FAILED\" AND resource.label.workflow_id = \"tessera-annual\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_DELTA"
      }
    }
  }

  documentation {
    content   = "The yearly rerun failed four times in a row. See docs/operator.md, \"schedule failed\"."
    mime_type = "text/markdown"
  }
}

locals {
  charts = {
    "Tiles an hour"      = "2 * sum by (metric_name) (delta({${local.tiles}}[30m]))"
    "Tiles by state"     = "sum by (metric_name) ({${local.tiles}})"
    "Share that fails"   = "sum(delta({${local.failed}}[30m])) / sum(delta({${local.tiles}}[30m]))"
    "Retries an hour"    = "2 * sum by (metric_name) (delta({${local.counter}, \"metric_name\"=~\"retries_.*\"}[30m]))"
    "vCPUs of workers"   = "sum({${local.vcpus}})"
    "Bytes of the store" = "max_over_time({\"__name__\"=\"storage.googleapis.com/storage/v2/total_bytes\", \"bucket_name\"=\"${google_storage_bucket.mosaic.name}\"}[1d])"
    "Dropped by NAT"     = "sum(rate({\"__name__\"=\"router.googleapis.com/nat/dropped_sent_packets_count\"}[5m]))"
  }
}

resource "google_monitoring_dashboard" "job" {
  dashboard_json = jsonencode({
    displayName = "tessera-mosaic"
    mosaicLayout = {
      columns = 12
      tiles = [
        for place, title in keys(local.charts) : {
          xPos   = 6 * (place % 2)
          yPos   = 4 * floor(place / 2)
          width  = 6
          height = 4
          widget = {
            title = title
            xyChart = {
              dataSets = [{
                timeSeriesQuery = { prometheusQuery = local.charts[title] }
                plotType        = "LINE"
              }]
            }
          }
        }
      ]
    }
  })

  depends_on = [google_project_service.needed]
}
