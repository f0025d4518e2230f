"""A version behind an InferenceService of its own: apply it, ask its servers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelyard.api.meta import Verdict
from modelyard.api.resources import INFERENCE_SERVICE, POD
from modelyard.build.autoscaling import awake
from modelyard.build.common import Manifest, is_child_of_one
from modelyard.build.httproute import PREDICTOR_SUFFIX
from modelyard.build.inferenceservice import inference_service
from modelyard.build.pods import pod_needs
from modelyard.judge.autoscaling import may_rest
from modelyard.judge.conditions import Readiness, stalled
from modelyard.judge.serving import (
    Answers,
    Serving,
    is_at_rest,
    is_settled,
    judge_serving,
    probe_url,
    server_revision,
)
from modelyard.reconcile.autoscaling import autoscaling_trouble, remove_earlier_autoscaler
from modelyard.reconcile.candidate import Candidate, serve_config, serve_secrets
from modelyard.reconcile.deployment_context import DeploymentContext
from modelyard.reconcile.serving import Version, ask, look_again, unchanged

QUESTIONS = 3
"""How often the servers at one URL are asked at once: a rollout has old and new ones behind it."""
SWITCH_SECONDS = 0.5
"""How soon to ask again while KServe calls ready what still serves an earlier spec."""
MISSING_SECONDS = 15.0
"""How soon to look again whether a backend was installed: nothing else tells."""
LONGEST_NAME = 63


@dataclass(frozen=True)
class Dedicated:
    """Servers of a Deployment's own, behind the InferenceService of a name."""

    context: DeploymentContext
    name: str

    async def serve(
        self, candidate: Candidate, fallback: Candidate | None, verdicts: list[Verdict]
    ) -> Version:
        """Bring the InferenceService one step nearer to serving a version."""
        existing = await self._get()
        unfit = self._name_trouble(existing)
        if unfit is not None:
            return Version(await self._judge(None), unfit, [], None)
        untold = await autoscaling_trouble(self.context)
        if untold is not None:
            found = await self.look(untold)
            return replace(found, verdicts=verdicts, requeue_after=MISSING_SECONDS)
        return await self._serve(self._desired(candidate, fallback), existing, verdicts)

    async def look(self, why_not: Readiness) -> Version:
        """Return what the InferenceService serves, changing nothing."""
        found = await self._get()
        own = found is not None and is_child_of_one(found, self.context.manifest)
        return unchanged(await self._judge(found if own else None), why_not)

    async def leave(self) -> None:
        """Delete the InferenceService, if it is the Deployment's."""
        found = await self._get()
        if found is not None and is_child_of_one(found, self.context.manifest):
            cluster = self.context.ports.cluster
            await cluster.delete(INFERENCE_SERVICE, self.context.namespace, self.name)

    async def _get(self) -> Manifest | None:
        cluster = self.context.ports.cluster
        return await cluster.get(INFERENCE_SERVICE, self.context.namespace, self.name)

    async def _serve(
        self, desired: Manifest, existing: Manifest | None, verdicts: list[Verdict]
    ) -> Version:
        """Apply an InferenceService and ask its servers; they may rest once they have answered."""
        context = self.context
        if may_rest(context.spec) and not await self._is_proven(existing, desired):
            desired = awake(desired)
        service = await context.ports.cluster.apply(INFERENCE_SERVICE, desired)
        serving = await self._judge(service)
        left = await remove_earlier_autoscaler(context, service)
        again = left or self._may_rest_now(desired, serving)
        requeue_after = SWITCH_SECONDS if again else look_again(service, serving, SWITCH_SECONDS)
        return Version(serving, serving.why_not, verdicts, requeue_after)

    def _desired(self, candidate: Candidate, fallback: Candidate | None) -> Manifest:
        """Return the InferenceService that serves a candidate."""
        context, ports = self.context, self.context.ports
        return inference_service(
            context.manifest,
            self.name,
            context.spec,
            serve_config(context.manifest, context.spec, candidate, fallback, context.project),
            serve_secrets(candidate, context.project),
            ports.images,
            pod_needs(context.spec.resources, context.project.spec.scheduling),
            ports.request_counts,
        )

    async def _is_proven(self, existing: Manifest | None, desired: Manifest) -> bool:
        """Return whether servers of what is desired have answered, so that they may rest.

        What may rest has: an InferenceService remembers it by the replicas that it asks for.
        """
        if existing is None or server_revision(existing) != server_revision(desired):
            return False
        if existing["spec"]["predictor"].get("minReplicas") == 0:
            return True
        return is_settled(existing, await ask(probe_url(existing), self.context, QUESTIONS))

    def _may_rest_now(self, desired: Manifest, serving: Serving) -> bool:
        """Return whether what was kept awake to answer has done so."""
        kept_awake = desired["spec"]["predictor"]["minReplicas"] > 0
        return may_rest(self.context.spec) and kept_awake and serving.up_to_date

    def _name_trouble(self, found: Manifest | None) -> Readiness | None:
        """Return why an InferenceService cannot have the name: it is too long, or another's."""
        if len(self.name) + len(PREDICTOR_SUFFIX) > LONGEST_NAME:
            message = f"KServe cannot name the Service of {self.name}: give the Deployment a "
            return stalled("NameTooLong", f"{message}shorter name.")
        if found is None or is_child_of_one(found, self.context.manifest):
            return None
        message = f"InferenceService {self.name} belongs to something else; rename this Deployment."
        return stalled("NameTaken", message)

    async def _judge(self, service: Manifest | None) -> Serving:
        context = self.context
        # Nobody is asked while none runs: the question would start one.
        at_rest = is_at_rest(service)
        answers = Answers() if at_rest else await ask(probe_url(service), context, QUESTIONS)
        pods: list[Manifest] = []
        if service is not None and not is_settled(service, answers):
            pods = await context.ports.cluster.list_objects(POD, context.namespace)
        checks = context.spec.smoke_test.checks if context.spec.smoke_test else []
        return judge_serving(service, answers, pods, len(checks))
