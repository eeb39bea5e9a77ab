resource "google_compute_network" "workers" {
  name                    = "tessera-mosaic"
  auto_create_subnetworks = false

  depends_on = [google_project_service.needed]
}

resource "google_compute_subnetwork" "workers" {
  name          = "tessera-mosaic"
  region        = var.gcp_region
  network       = google_compute_network.workers.id
  ip_cidr_range = "10.64.0.0/20"

  # Workers have no public address; they reach Google's services from inside.
  private_ip_google_access = true
}

# Imagery lies outside of Google Cloud and is reached through NAT, which bills every byte: for more
# than a country read "Network" in deploy/README.md.
resource "google_compute_router" "nat" {
  name    = "tessera-mosaic"
  region  = var.gcp_region
  network = google_compute_network.workers.id
}

resource "google_compute_router_nat" "nat" {
  name                               = "tessera-mosaic"
  region                             = var.gcp_region
  router                             = google_compute_router.nat.name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "ALL_SUBNETWORKS_ALL_IP_RANGES"

  # A worker keeps up to 64 connections to one provider, and closed ones hold their port a while.
  enable_dynamic_port_allocation      = true
  enable_endpoint_independent_mapping = false
  min_ports_per_vm                    = 256
  max_ports_per_vm                    = 4096

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# Dataflow's workers speak to one another; nobody else reaches them.
resource "google_compute_firewall" "workers" {
  name        = "tessera-mosaic-workers"
  network     = google_compute_network.workers.id
  direction   = "INGRESS"
  source_tags = ["dataflow"]
  target_tags = ["dataflow"]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}
