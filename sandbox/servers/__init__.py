"""MongoDB, Redis and Temporal as real local servers: found or installed, started, stopped and restarted."""
