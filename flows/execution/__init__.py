"""Running stages: plan, shards, runners, clusters, retries."""
