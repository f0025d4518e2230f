"""A version as an entry of the shared server of its namespace: write it, ask for it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from modelyard.api.compute import Resources
from modelyard.api.meta import Verdict
from modelyard.api.resources import CONFIG_MAP, INFERENCE_SERVICE, OURS, POD
from modelyard.api.runtime import ServeConfig
from modelyard.build.common import Manifest, is_shared, store_variables
from modelyard.build.pods import pod_needs
from modelyard.build.shared import (
    SHARED_MODELS,
    config_map,
    entry,
    entry_of,
    shared_inference_service,
)
from modelyard.judge.conditions import Readiness, ready_condition, stalled
from modelyard.judge.serving import Serving, probe_url
from modelyard.judge.shared import judge_shared
from modelyard.ports.cluster import Conflict
from modelyard.reconcile.candidate import Candidate, privacy_key, serve_config
from modelyard.reconcile.deployment_context import DeploymentContext
from modelyard.reconcile.serving import NOT_SERVED, Version, ask, look_again, unchanged

QUESTIONS = 1
"""There is one shared server."""
TAKEN_UP_SECONDS = 2.0
"""How soon to ask again whether it has taken up an entry: nobody tells."""
WRITES = 5
"""How often an entry is written until one that others wrote meanwhile ends the reconcile."""


@dataclass(frozen=True)
class Shared:
    """The shared server of a Deployment's namespace."""

    context: DeploymentContext

    async def serve(
        self, candidate: Candidate, fallback: Candidate | None, verdicts: list[Verdict]
    ) -> Version:
        """Have the shared server told of a version, and ask for it."""
        context = self.context
        config = serve_config(context.manifest, context.spec, candidate, fallback, context.project)
        trouble = _key_trouble(candidate, config) or await self._name_trouble()
        if trouble is not None:
            return await self.look(trouble)
        wanted = entry(config)
        service = await self._apply(await self._write(wanted))
        serving = await self._judge(service, wanted)
        requeue_after = look_again(service, serving, TAKEN_UP_SECONDS)
        return Version(serving, serving.why_not, verdicts, requeue_after)

    async def look(self, why_not: Readiness) -> Version:
        """Return what the shared server answers for the Deployment, changing nothing."""
        shared, namespace = self.context.ports.shared, self.context.namespace
        told = entry_of(await shared.get(CONFIG_MAP, namespace, SHARED_MODELS), self.context.name)
        service = await shared.get(INFERENCE_SERVICE, namespace, SHARED_MODELS)
        if told is None or service is None or not is_shared(service):
            return unchanged(NOT_SERVED, why_not)
        return unchanged(await self._judge(service, told), why_not)

    async def leave(self) -> None:
        """Take the entry out; the server goes with the last one."""
        shared, namespace = self.context.ports.shared, self.context.namespace
        found = await shared.get(CONFIG_MAP, namespace, SHARED_MODELS)
        if found is None or not is_shared(found) or entry_of(found, self.context.name) is None:
            return
        left = await self._write(None)
        if left:
            await self._apply(left)
            return
        for resource in (INFERENCE_SERVICE, CONFIG_MAP):
            await self.context.ports.cluster.delete(resource, namespace, SHARED_MODELS)

    async def _write(self, wanted: ServeConfig | None) -> list[Manifest]:
        """Write the entry and drop those of Deployments that are gone; return who has one.

        All Deployments write the same ConfigMap, so each writes only to what it has read. Nothing
        is written where no entry would be left.

        Raises:
            Conflict: others were faster time and again.
        """
        cluster, namespace = self.context.ports.cluster, self.context.namespace
        known = await self.context.ports.shared.list_objects(OURS["Deployment"], namespace)
        for _ in range(WRITES):
            current = await cluster.get(CONFIG_MAP, namespace, SHARED_MODELS)
            desired = config_map(current, self.context.manifest, wanted, known)
            if desired == current:
                return _owners(desired)
            # Listed after the entries were read: none of them is of a Deployment that is to come.
            known = await cluster.list_objects(OURS["Deployment"], namespace)
            desired = config_map(current, self.context.manifest, wanted, known)
            if desired is None or desired == current:
                return _owners(desired)
            with suppress(Conflict):
                if current is not None:
                    await cluster.replace(CONFIG_MAP, desired)
                    return _owners(desired)
                if await cluster.create(CONFIG_MAP, desired):
                    return _owners(desired)
        raise Conflict(f"ConfigMap {SHARED_MODELS}: others write it without a pause")

    async def _apply(self, owners: list[Manifest]) -> Manifest:
        """Apply the InferenceService of the shared server."""
        context, project = self.context, self.context.project
        desired = shared_inference_service(
            context.namespace,
            owners,
            project.spec.shared_serving,
            project.store.config,
            store_variables(project.store_secret),
            context.ports.images,
            pod_needs(Resources(), project.spec.scheduling),
        )
        return await context.ports.cluster.apply(INFERENCE_SERVICE, desired)

    async def _judge(self, service: Manifest, wanted: ServeConfig) -> Serving:
        context = self.context
        answers = await ask(probe_url(service), context, QUESTIONS)
        pods: list[Manifest] = []
        if ready_condition(service).get("status") != "True":
            pods = await context.ports.cluster.list_objects(POD, context.namespace)
        checks = context.spec.smoke_test.checks if context.spec.smoke_test else []
        return judge_shared(service, answers, wanted, pods, len(checks))

    async def _name_trouble(self) -> Readiness | None:
        """Return why the shared server cannot have its name: something else has it."""
        for resource in (INFERENCE_SERVICE, CONFIG_MAP):
            cluster = self.context.ports.cluster
            found = await cluster.get(resource, self.context.namespace, SHARED_MODELS)
            if found is not None and not is_shared(found):
                message = (
                    f"{resource.kind} {SHARED_MODELS} belongs to something else; rename that, or "
                    "set spec.placement.server to Dedicated."
                )
                return stalled("NameTaken", message)
        return None


def _owners(written: Manifest | None) -> list[Manifest]:
    return [] if written is None else list(written["metadata"]["ownerReferences"])


def _key_trouble(candidate: Candidate, config: ServeConfig) -> Readiness | None:
    """Return why a shared server may not log the payloads of a model: it is given no keys."""
    if config.payload_uri is None or privacy_key(candidate) is None:
        return None
    message = (
        "spec.placement.server: payloads of this model are hashed by spec.privacy.keyRef of its "
        "Dataset, and the shared server is given no such keys; set it to Dedicated, or "
        "spec.payloadLogging.samplePercent to 0."
    )
    return stalled("PrivacyKeyNotShared", message)
