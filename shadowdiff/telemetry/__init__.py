"""What operators see: metrics that read the stages' plain counters, the health port, and logs."""
