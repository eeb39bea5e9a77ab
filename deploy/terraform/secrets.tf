# Only the places are made here: a secret's value is never in this configuration or its state.
#   printf %s "$TOKEN" | gcloud secrets versions add tessera-earthdata-token --data-file=-
# Containers fetch them as they start (deploy/boot.py); a secret without a version is left out.

locals {
  secrets = toset(["tessera-earthdata-token", "tessera-planetary-computer-key"])
}

resource "google_secret_manager_secret" "handed_over" {
  for_each = local.secrets

  secret_id = each.value

  replication {
    auto {}
  }

  depends_on = [google_project_service.needed]
}

resource "google_secret_manager_secret_iam_member" "read" {
  for_each = {
    for pair in setproduct(local.secrets, keys(local.makers)) :
    "${pair[0]}-${pair[1]}" => { secret = pair[0], member = local.makers[pair[1]] }
  }

  secret_id = google_secret_manager_secret.handed_over[each.value.secret].id
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value.member
}
