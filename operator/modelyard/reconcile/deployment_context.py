"""A Deployment as its parts are reconciled: with its Project, and the outside."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.api.deployment import DeploymentSpec
from modelyard.build.common import Manifest
from modelyard.reconcile.context import Ports, ProjectContext


@dataclass(frozen=True)
class DeploymentContext:
    """A Deployment with its Project, and the outside."""

    manifest: Manifest
    spec: DeploymentSpec
    project: ProjectContext
    ports: Ports

    @property
    def name(self) -> str:
        """Name of the Deployment, and of its model in the protocols."""
        name: str = self.manifest["metadata"]["name"]
        return name

    @property
    def namespace(self) -> str:
        """Namespace of the Deployment and all it makes."""
        namespace: str = self.manifest["metadata"]["namespace"]
        return namespace
