"""The ports made real: Kubernetes, artifact stores, OPA, webhooks."""
