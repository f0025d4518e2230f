"""Modelyard: a declarative GitOps control plane for enterprise AutoML."""
