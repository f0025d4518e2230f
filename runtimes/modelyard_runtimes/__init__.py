"""Modelyard runtimes."""
