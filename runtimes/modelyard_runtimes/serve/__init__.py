"""The serve runtime: one packed model behind the Open Inference Protocol (KServe V1 and V2)."""
