"""How the job comes to Google Cloud."""
