"""What ops see: metrics, structured logs and health."""
