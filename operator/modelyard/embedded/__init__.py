"""The embedded plane: a local Kubernetes API server and stand-ins for the cluster's controllers.

It lets the unchanged operator run on one machine without a cluster. Nothing here knows more of
Modelyard than `modelyard.api`; the API server knows not even that.
"""
