"""The operator's process: kopf watches, one queue, probes and metrics; wires adapters in."""
