"""Every invalid manifest is refused at the place of its fault, with a remedy.

Each case changes one field of a sound project; the expected line is where that field, or the
nearest one around a missing field, stands.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelyard.api.resources import Key
from modelyard.cli import documents, schema
from modelyard.cli.client import Client, Refused
from modelyard.cli.starter import TEMPLATES, project_files
from modelyard.cli.validate import judge

SOUND = {
    name.removesuffix(".yaml"): yaml.safe_load(text)
    for name, text in project_files("wine", TEMPLATES["wine"]).items()
}
SOUND["modelversion"] = {
    "apiVersion": "modelyard.dev/v1alpha1",
    "kind": "ModelVersion",
    "metadata": {"name": "wine-0123456789", "namespace": "wine"},
    "spec": {"stage": "Staging"},
}
NAMESPACE = "refused"
"""Of no other test: what is there already would be merged with what is applied."""
OWN: dict[str, Any] = {"metadata.namespace": NAMESPACE}
REMOVED = object()


@dataclass(frozen=True)
class Case:
    """A change of one manifest, the field that is named, and a part of the remedy."""

    file: str
    change: dict[str, Any]
    field: str
    remedy: str


def case(file: str, change: dict[str, Any], field: str, remedy: str) -> Any:
    return pytest.param(Case(file, change, field, remedy), id=f"{file}: {field}: {remedy[:30]}")


EXPECTATION = {"name": "rule", "type": "Range", "column": "alcohol", "min": 0}
COSTS = {"falsePositive": 0, "falseNegative": 5}
REGRESSION = {"type": "Regression", "target": "t"}
S3 = {"name": "lake", "type": "S3"}
VERSION = "wine-0123456789"
PAIR = {"left": "ash", "right": "hue", "operation": "Ratio"}
STAGED = {"experiment": "wine", "stage": "Staging"}
CPU = {"requests": {"cpu": "1"}}
LEAVES = "spec.search.space.LightGBM.num_leaves"


def space(**parameter: Any) -> dict[str, Any]:
    """Return the change that declares the values of one hyperparameter."""
    return {"spec.search.space": {"LightGBM": {"num_leaves": parameter}}}


def smoke(expect: dict[str, Any]) -> dict[str, Any]:
    """Return the change that gives a Deployment a smoke test."""
    return {"spec.smokeTest": {"checks": [{"name": "a", "instance": {}, "expect": expect}]}}


REFUSED_BY_SERVER_TOO = [
    # unknown fields and misspellings
    case("project", {"spec.enviroment": "staging"}, "spec.enviroment", "did you mean environment?"),
    case("dataset", {"spec.sources": {}}, "spec.sources", "did you mean source?"),
    case("experiment", {"spec.task.targets": "x"}, "spec.task.targets", "did you mean target?"),
    case("experiment", {"spec.search.trails": 3}, "spec.search.trails", "did you mean trials?"),
    case("deployment", {"spec.instances": 2}, "spec.instances", "remove it"),
    case("monitor", {"spec.drift.tresholds": 1}, "spec.drift.tresholds", "did you mean threshold?"),
    case("policy", {"spec.gate": ["deploy"]}, "spec.gate", "did you mean gates?"),
    case("modelversion", {"spec.stages": "None"}, "spec.stages", "did you mean stage?"),
    # missing fields
    case("dataset", {"spec": REMOVED}, "spec", "missing"),
    case("dataset", {"spec.source": REMOVED}, "spec.source", "Where the rows come from"),
    case("experiment", {"spec.task": REMOVED}, "spec.task", "What is predicted"),
    case("experiment", {"spec.task.target": REMOVED}, "spec.task.target", "Column that is"),
    case("experiment", {"spec.task.type": REMOVED}, "spec.task.type", "Kind of prediction"),
    case("experiment", {"spec.datasetRef": REMOVED}, "spec.datasetRef", "The Dataset"),
    case("deployment", {"spec.model": REMOVED}, "spec.model", "Which model serves"),
    case("monitor", {"spec.deploymentRef": REMOVED}, "spec.deploymentRef", "The Deployment"),
    case("policy", {"spec.gates": REMOVED}, "spec.gates", "Gates at which"),
    # values outside the enumerations
    case("project", {"spec.environment": "prod"}, "spec.environment", '"production"'),
    case("dataset", {"spec.source.builtin": "titanic"}, "spec.source.builtin", '"wine"'),
    case("dataset", {"spec.source.format": "csv"}, "spec.source.format", '"CSV"'),
    case("dataset", {"spec.deletionPolicy": "Keep"}, "spec.deletionPolicy", '"Retain"'),
    case(
        "dataset",
        {"spec.schema": {"columns": [{"name": "a", "type": "Text", "order": ["b", "c"]}]}},
        "spec.schema.columns[0].order",
        "set type to Ordinal",
    ),
    case(
        "dataset",
        {"spec.schema": {"columns": [{"name": "a", "type": "Ordinal", "order": ["b"]}]}},
        "spec.schema.columns[0].order",
        "at least 2",
    ),
    case("experiment", {"spec.task.type": "Clustering"}, "spec.task.type", '"Regression"'),
    case("experiment", {"spec.task.metric": "auc"}, "spec.task.metric", '"roc_auc"'),
    case("experiment", {"spec.search.algorithm": "CMA-ES"}, "spec.search.algorithm", '"TPE"'),
    case(
        "experiment",
        {"spec.search.algorithm": "PBT"},
        "spec.search.learners",
        "name only these",
    ),
    case("experiment", space(type="Integer", low=8), LEAVES, "both low and high"),
    case("experiment", space(type="Integer", low=9, high=8), f"{LEAVES}.low", "above high"),
    case("experiment", space(type="Integer", low=8.5, high=9), LEAVES, "whole numbers"),
    case("experiment", space(type="Float", low=0, high=1, log=True), f"{LEAVES}.log", "remove log"),
    case("experiment", space(type="Categorical", low=1, high=2), LEAVES, "takes choices"),
    case("experiment", space(type="Categorical", choices=["a"], step=1), f"{LEAVES}.step", "step"),
    case(
        "experiment",
        {"spec.search.space": {"TorchMLP": {}}},
        "spec.search.space",
        "not in learners",
    ),
    case(
        "experiment",
        {"spec.search.algorithm": "Grid"},
        "spec.search.algorithm",
        "needs spec.search.space",
    ),
    case(
        "experiment",
        {**space(type="Integer", low=8, high=8), "spec.search.algorithm": "Grid",
         "spec.search.warmStart": {"k": 2}},
        "spec.search.warmStart",
        "remove warmStart",
    ),
    case("experiment", {"spec.search.engine": "H2O"}, "spec.search.engine", '"AutoGluon"'),
    case(
        "experiment",
        {"spec.search.engine": "FLAML", "spec.search.algorithm": "Random"},
        "spec.search.algorithm",
        "belongs to engine Native",
    ),
    case(
        "experiment",
        {**space(type="Integer", low=8, high=8), "spec.search.engine": "FLAML"},
        "spec.search.space",
        "belongs to engine Native",
    ),
    case(
        "experiment",
        {"spec.search.engine": "AutoGluon", "spec.search.warmStart": {"k": 2}},
        "spec.search.warmStart",
        "belongs to engine Native",
    ),
    case(
        "experiment",
        {"spec.search.engine": "AutoGluon", "spec.search.learners": ["TorchMLP"]},
        "spec.search.learners",
        "belongs to engine Native",
    ),
    case(
        "experiment",
        {"spec.search.engine": "FLAML", "spec.search.learners": ["KNeighbors"]},
        "spec.search.learners",
        "KNeighbors belongs to engine Native",
    ),
    case("experiment", {"spec.select": {"rule": "Weighted"}}, "spec.select", "spec.objectives"),
    case("experiment", {"spec.search.learners": ["XGB"]}, "spec.search.learners[0]", '"LightGBM"'),
    case("experiment", {"spec.execution.backend": "Spark"}, "spec.execution.backend", '"Argo"'),
    case("deployment", {"spec.mode": "Stream"}, "spec.mode", '"Online"'),
    case("modelversion", {"spec.stage": "Prod"}, "spec.stage", '"Production"'),
    case("monitor", {"spec.drift.metrics": ["KSTest"]}, "spec.drift.metrics[0]", '"KS"'),
    case("policy", {"spec.gates": ["serve"]}, "spec.gates[0]", '"deploy"'),
    case("policy", {"spec.enforcement": "Block"}, "spec.enforcement", '"Deny"'),
    # wrong types
    case("project", {"spec.owners": "me"}, "spec.owners", "must be of type array"),
    case("dataset", {"spec.suspend": "no"}, "spec.suspend", "must be of type boolean"),
    case("experiment", {"spec.seed": "42"}, "spec.seed", "must be of type integer"),
    case("experiment", {"spec.search.trials": 1.5}, "spec.search.trials", "type integer"),
    case("experiment", {"spec.run": "again"}, "spec.run", "must be of type object"),
    case("deployment", {"spec.workers": "two"}, "spec.workers", "must be of type integer"),
    case("policy", {"spec.rules": {}}, "spec.rules", "must be of type array"),
    # bounds and patterns
    case("project", {"spec.quota.parallelTrials": 0}, "spec.quota.parallelTrials", "equal to 1"),
    case("project", {"spec.artifactStore": {"uri": "/tmp/x"}}, "spec.artifactStore.uri", "file:///"),
    case("dataset", {"spec.source": {"uri": "gs://b"}}, "spec.source.uri", "s3://"),
    case("dataset", {"spec.sample": {"rows": 0}}, "spec.sample.rows", "equal to 1"),
    case("experiment", {"spec.search.trials": 0}, "spec.search.trials", "equal to 1"),
    case("experiment", {"spec.validation.folds": 1}, "spec.validation.folds", "equal to 2"),
    case("experiment", {"spec.validation.holdout": 0.9}, "spec.validation.holdout", "equal to 0.5"),
    case("experiment", {"spec.validation": {"method": "OneFold", "timeColumn": "day"}},
         "spec.validation.method", "remove timeColumn"),
    case("experiment", {"spec.execution.parallelism": 65}, "spec.execution.parallelism", "to 64"),
    case("experiment", {"spec.seed": -1}, "spec.seed", "equal to 0"),
    case("experiment", {"spec.budget.wallClock": "2 h"}, "spec.budget.wallClock", "should match"),
    case("experiment", {"spec.search.learners": []}, "spec.search.learners", "at least 1"),
    case("deployment", {"spec.workers": 33}, "spec.workers", "equal to 32"),
    case("deployment", {"spec.payloadLogging.samplePercent": 101},
         "spec.payloadLogging.samplePercent", "equal to 100"),
    case("monitor", {"spec.interval": "often"}, "spec.interval", "should match"),
    case("monitor", {"spec.drift.significance": 0}, "spec.drift.significance", "greater than 0"),
    # rules over several fields
    case("dataset", {"spec.source": {}}, "spec.source", "exactly one of path, uri and builtin"),
    case("dataset", {"spec.source.path": "a.csv"}, "spec.source", "exactly one of path"),
    case("dataset", {"spec.source": {"uri": "s3://b/p"}}, "spec.source.connectionRef",
         "connections"),
    case("dataset", {"spec.sample": {"rows": 9, "method": "Stratified"}}, "spec.sample.by", "name"),
    case("dataset", {"spec.expectations": [{**EXPECTATION, "column": REMOVED}]},
         "spec.expectations[0].column", "name the column"),
    case("dataset", {"spec.expectations": [{**EXPECTATION, "max": -1}]},
         "spec.expectations[0].min", "must not exceed max"),
    case("dataset", {"spec.expectations": [{"name": "r", "type": "Regex", "column": "a"}]},
         "spec.expectations[0].pattern", "needs pattern"),
    case("dataset", {"spec.privacy.columns": [{"name": "a", "action": "Hash"}]},
         "spec.privacy.keyRef", "name a key of a Secret"),
    case("experiment", {"spec.task.metric": "rmse"}, "spec.task.metric", "Classification takes"),
    case("experiment", {"spec.task": {"type": "Regression", "target": "t", "positiveLabel": "1"}},
         "spec.task.positiveLabel", "remove it"),
    case("experiment", {"spec.task": {**REGRESSION, "rareClasses": "Drop"}},
         "spec.task.rareClasses", "remove it"),
    case("experiment", {"spec.search": {"learners": ["Linear", "Linear"]}},
         "spec.search.learners", "named twice"),
    case("experiment", {"spec.ensemble": {"type": "Voting"}, "spec.search.learners": ["Linear"]},
         "spec.ensemble.type", "use Stacked"),
    case("experiment", {"spec.ensemble": {"bagging": "Folds"}}, "spec.ensemble.bagging",
         "set validation.method to AllFolds"),
    case("experiment", {"spec.ensemble": {"bagging": "Folds"}, "spec.validation.method": "OneFold"},
         "spec.ensemble.bagging", "set validation.method to AllFolds"),
    case("experiment", {"spec.ensemble": {"bagging": "Rows"}}, "spec.ensemble.bagging", '"Folds"'),
    case("experiment", {"spec.features.exclude": ["target"]}, "spec.features.exclude", "remove"),
    case("experiment", {"spec.features.transforms": [{"type": "GroupStatistics"}]},
         "spec.features.transforms[0].by", "name the column"),
    case("experiment", {"spec.features.transforms": [{"type": "Binning", "smoothing": 1}]},
         "spec.features.transforms[0].smoothing", "remove it"),
    case("experiment", {"spec.features.transforms": [{"type": "TargetEncoding", "bins": 5}]},
         "spec.features.transforms[0].bins", "remove it"),
    case("experiment", {"spec.features.transforms": [{"type": "Binning", "buckets": 5}]},
         "spec.features.transforms[0].buckets", "remove it"),
    case("experiment", {"spec.features.transforms": [{"type": "Interactions"}]},
         "spec.features.transforms[0].pairs", "name pairs"),
    case("experiment", {"spec.features.transforms": [
             {"type": "Interactions", "columns": ["ash"], "pairs": [PAIR]}]},
         "spec.features.transforms[0].columns", "remove columns"),
    case("experiment", {"spec.features.transforms": [
             {"type": "Interactions", "pairs": [{**PAIR, "right": "ash"}]}]},
         "spec.features.transforms[0].pairs[0].right", "name another"),
    case("experiment", {"spec.features.selection": {"method": "Importance"}},
         "spec.features.selection.maxFeatures", "set maxFeatures"),
    case("experiment", {"spec.task": REGRESSION, "spec.features.selection":
                        {"method": "ChiSquared", "maxFeatures": 5}},
         "spec.features.selection.method", "use MutualInformation"),
    case("experiment", {"spec.fairness.sensitive": ["target"]}, "spec.fairness.sensitive",
         "remove"),
    case("experiment", {"spec.fairness": {"limits": {"metric": 0.1}}}, "spec.fairness.limits",
         "name one"),
    case("experiment", {"spec.evaluation": {"threshold": {"value": 0.5, "costs": COSTS}}},
         "spec.evaluation.threshold", "set either value, or costs"),
    case("experiment", {"spec.evaluation": {"threshold": {"costs": {**COSTS, "falseNegative": 0}}}},
         "spec.evaluation.threshold.costs.falsePositive", "raise one of them"),
    case("experiment", {"spec.evaluation": {"intervals": {"coverage": 1}}},
         "spec.evaluation.intervals.coverage", "equal to 0.99"),
    case("experiment", {"spec.task": REGRESSION, "spec.evaluation": {"calibration": "Platt"}},
         "spec.evaluation.calibration", "remove calibration"),
    case("experiment", {"spec.task": REGRESSION, "spec.evaluation": {"threshold": {"value": 0.5}}},
         "spec.evaluation.threshold", "remove it"),
    case("experiment",
         {"spec.task": REGRESSION,
          "spec.fairness": {"sensitive": ["a"], "limits": {"equalizedOdds": 0.1}}},
         "spec.fairness.limits", "a Regression takes metric"),
    case("deployment", {"spec.model": {}}, "spec.model", "either experiment or modelVersion"),
    case("deployment", {"spec.model": {"modelVersion": "wine-0123456789", "stage": "Staging"}},
         "spec.model.stage", "remove one"),
    case("deployment", {"spec.canary": {"modelVersion": VERSION}}, "spec.canary.percent",
         "Share of the requests"),
    case("deployment", {"spec.canary": {"modelVersion": VERSION, "percent": 101}},
         "spec.canary.percent", "equal to 100"),
    case("deployment", {"spec.canary": {"experiment": "wine", "percent": 1}},
         "spec.canary.experiment", "add stage"),
    case("deployment", {"spec.model": {"modelVersion": VERSION},
                        "spec.canary": {"modelVersion": VERSION, "percent": 1}},
         "spec.canary.modelVersion", "remove canary"),
    case("deployment", {"spec.model": STAGED, "spec.canary": {**STAGED, "percent": 1}},
         "spec.canary.stage", "remove canary"),
    case("deployment", {"spec.gateway": {"name": "public"}}, "spec.gateway.hostname", "Host by"),
    case("deployment", {"spec.gateway": {"name": "public", "hostname": "https://x"}},
         "spec.gateway.hostname", "should match"),
    case("deployment", {"spec.replicas": 0}, "spec.replicas", "equal to 1"),
    case("deployment", {"spec.replicas": 2, "spec.autoscaling": {"maxReplicas": 3},
                        "spec.resources": CPU}, "spec.replicas", "remove one of them"),
    case("deployment", {"spec.autoscaling": {"maxReplicas": 3}}, "spec.resources",
         "set spec.resources.requests.cpu"),
    case("deployment", {"spec.autoscaling": {"maxReplicas": 3, "minReplicas": 0},
                        "spec.resources": CPU}, "spec.autoscaling.minReplicas",
         "set targetRequestsPerSecond, or minReplicas to 1"),
    case("deployment", {"spec.autoscaling": {"maxReplicas": 3, "targetCPUPercent": 60,
                                             "targetRequestsPerSecond": 9},
                        "spec.resources": CPU}, "spec.autoscaling.targetCPUPercent",
         "remove targetCPUPercent or targetRequestsPerSecond"),
    case("deployment", {"spec.autoscaling": {"minReplicas": 4, "maxReplicas": 3},
                        "spec.resources": CPU}, "spec.autoscaling.minReplicas", "swap them"),
    case("deployment", {"spec.resources": {**CPU, "limits": {"cpu": "100m"}}},
         "spec.resources.requests.cpu", "raise the other"),
    case("deployment", {"spec.resources": {"limits": {"memory": "much"}}},
         "spec.resources.limits.memory", "should match"),
    case("deployment", {"spec.explainer": {"method": "LIME"}}, "spec.explainer.method", '"SHAP"'),
    case("deployment", {"spec.explainer": {"maxRows": 0}}, "spec.explainer.maxRows", "equal to 1"),
    case("deployment", {"spec.traffic": {"maxInFlight": 0}}, "spec.traffic.maxInFlight",
         "equal to 1"),
    case("deployment", {"spec.traffic": {"rateLimit": {"burst": 3}}},
         "spec.traffic.rateLimit.requestsPerSecond", "a second in the long run"),
    case("deployment", {"spec.traffic": {"breaker": {"consecutiveFailures": 0}}},
         "spec.traffic.breaker.consecutiveFailures", "equal to 1"),
    case("deployment", {"spec.traffic": {"breaker": {"openFor": "30"}}},
         "spec.traffic.breaker.openFor", "should match"),
    case("deployment", {"spec.traffic": {"fallback": {}}}, "spec.traffic.fallback",
         "either experiment or modelVersion"),
    case("deployment", {"spec.traffic": {"fallback": {"experiment": "wine"}}},
         "spec.traffic.fallback.experiment", "add stage"),
    case("deployment", {"spec.batching": {"maxSize": 1}}, "spec.batching.maxSize", "equal to 2"),
    case("deployment", {"spec.batching": {"maxDelayMs": 1001}}, "spec.batching.maxDelayMs",
         "equal to 1000"),
    case("deployment", {"spec.smokeTest": {"checks": []}}, "spec.smokeTest.checks", "at least 1"),
    case("deployment", smoke({"status": 500}), "spec.smokeTest.checks[0].expect.status", "400"),
    case("deployment", smoke({"label": 1}), "spec.smokeTest.checks[0].expect.label", "string"),
    case("deployment", smoke({"minimum": 2, "maximum": 1}),
         "spec.smokeTest.checks[0].expect.minimum", "swap them"),
    case("deployment", smoke({"status": 400, "label": "1"}),
         "spec.smokeTest.checks[0].expect.status", "remove label"),
    case("monitor", {"spec.drift.window": {"minRows": 500, "maxRows": 100}}, "spec.drift.window.minRows",
         "must not exceed maxRows"),
    case("monitor", {"spec.alerts": [{"name": "a", "when": "NoData",
                                      "routes": [{"type": "Webhook"}]}]},
         "spec.alerts[0].routes[0].url", "needs url"),
    case("policy", {"spec.rules": REMOVED}, "spec", "exactly one of rules and rego"),
    case("policy", {"spec.rego": "package x"}, "spec", "exactly one of rules and rego"),
    case("policy", {"spec.rules": [{"name": "r", "path": "a.b", "operator": "Equal"}]},
         "spec.rules[0].value", "What it is compared with"),
    case("project", {"spec.artifactStore": {"uri": "s3://b/p"}}, "spec.artifactStore.connectionRef",
         "name an entry"),
    case("project", {"spec.connections": [S3], "spec.artifactStore":
                     {"uri": "s3://b/p", "connectionRef": {"name": "other"}}},
         "spec.artifactStore.connectionRef", "add it there"),
]  # fmt: skip

ALERT = {"name": "a", "when": "NoData"}
REFUSED_BY_SERVER_TOO.append(
    case("monitor", {"spec.alerts": [ALERT, ALERT]}, "spec.alerts", "rename one")
)

ANN = {"kind": "User", "name": "ann", "role": "Viewer"}
REFUSED_BY_SERVER_TOO += [
    case("project", {"spec.members": [{**ANN, "role": "Owner"}]}, "spec.members[0].role",
         '"Approver"'),
    case("project", {"spec.members": [{**ANN, "kind": "Group", "name": "system:authenticated"}]},
         "spec.members[0].name", "name a group of your own"),
    case("project", {"spec.members": [{**ANN, "kind": "ServiceAccount", "name": "ci:bot"}]},
         "spec.members[0].name", "system:serviceaccount:<namespace>:<name>"),
    case("project", {"spec.quota": {"cpu": 0.5}}, "spec.quota.cpu", '"500m"'),
    case("project", {"spec.quota": {"cpu": -1}}, "spec.quota.cpu", "equal to 0"),
    case("project", {"spec.quota": {"memory": "4GB"}}, "spec.quota.memory", '"64Gi"'),
    case("project", {"spec.networkPolicy": {"mode": "None", "allowFrom": ["apps"]}},
         "spec.networkPolicy.allowFrom", "set mode Isolated"),
    case("project", {"spec.scheduling": {"spot": {"nodeLabels": {}}}},
         "spec.scheduling.spot.nodeLabels", "at least 1"),
    case("project", {"spec.scheduling": {"tolerations": [
        {"key": "a", "operator": "Exists", "value": "b"}]}},
         "spec.scheduling.tolerations[0].value", "remove it"),
    case("experiment", {"spec.resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}},
         "spec.resources.requests.cpu", "lower the one"),
    case("dataset", {"spec.resources": {"requests": {"memory": "2G"}, "limits": {"memory": "1Gi"}}},
         "spec.resources.requests.memory", "raise the other"),
    case("monitor", {"spec.resources": {"requests": {"gpu": 1}, "limits": {"gpu": 2}}},
         "spec.resources.requests.gpu", "set one of them"),
    case("experiment", {"spec.execution.spot": "Always"}, "spec.execution.spot", '"Prefer"'),
    case("experiment", {"spec.schedule": {"every": "1h", "at": "2027-01-01T00:00:00Z"}},
         "spec.schedule", "exactly one of cron, every and at"),
    case("experiment", {"spec.schedule": {}}, "spec.schedule", "exactly one of cron, every and at"),
    case("experiment", {"spec.schedule": {"every": "1h", "timeZone": "UTC"}},
         "spec.schedule.timeZone", "remove it"),
    case("experiment", {"spec.schedule": {"every": "30s"}}, "spec.schedule.every", "should match"),
    case("experiment", {"spec.schedule": {"at": "tomorrow"}}, "spec.schedule.at", "should match"),
    case("experiment", {"spec.schedule": {"every": "1h", "concurrencyPolicy": "Allow"}},
         "spec.schedule.concurrencyPolicy", '"Replace"'),
]  # fmt: skip

SCORED = {"input": {"datasetRef": {"name": "wine"}}}
BATCH = {"spec.mode": "Batch", "spec.batch": SCORED}
REFUSED_BY_SERVER_TOO += [
    case("deployment", {"spec.mode": "Batch"}, "spec.batch", "say which rows are scored"),
    case("deployment", {"spec.batch": SCORED}, "spec.batch", "set spec.mode to Batch"),
    case("deployment", {"spec.schedule": {"every": "1h"}}, "spec.schedule", "spec.mode to Batch"),
    case("deployment", {"spec.run": {"token": "1"}}, "spec.run", "set spec.mode to Batch"),
    case("deployment", BATCH | {"spec.replicas": 2}, "spec.replicas", "remove replicas"),
    case("deployment", BATCH | {"spec.workers": 2}, "spec.workers", "remove workers"),
    case("deployment", BATCH | {"spec.gateway": {"name": "a", "hostname": "b.c"}}, "spec.gateway",
         "remove gateway"),
    case("deployment", BATCH | {"spec.canary": {"modelVersion": VERSION, "percent": 1}},
         "spec.canary", "remove canary"),
    case("deployment", BATCH | {"spec.autoscaling": {"maxReplicas": 3}, "spec.resources": CPU},
         "spec.autoscaling", "remove autoscaling"),
    case("deployment", BATCH | smoke({"label": "1"}), "spec.smokeTest", "remove smokeTest"),
    case("deployment", BATCH | {"spec.traffic": {}}, "spec.traffic", "remove traffic"),
    case("deployment", BATCH | {"spec.batching": {}}, "spec.batching", "remove batching"),
    case("deployment", BATCH | {"spec.explainer": {}}, "spec.explainer", "remove explainer"),
    case("deployment", BATCH | {"spec.payloadLogging": {"samplePercent": 1}},
         "spec.payloadLogging", "remove payloadLogging"),
    case("deployment", BATCH | {"spec.batch": {"input": {}}}, "spec.batch.input",
         "either datasetRef or source"),
    case("deployment", BATCH | {"spec.batch": {"input": {"source": {"uri": "s3://b/p"}}}},
         "spec.batch.input.source.connectionRef", "name an entry"),
    case("deployment", BATCH | {"spec.batch": SCORED | {"output": {"uri": "s3://b/p"}}},
         "spec.batch.output.connectionRef", "name an entry"),
    case("deployment", BATCH | {"spec.batch": SCORED | {"output": {"connectionRef": {"name": "a"}}}},
         "spec.batch.output.connectionRef", "set uri, or remove it"),
    case("deployment", BATCH | {"spec.batch": SCORED | {"output": {"format": "XLSX"}}},
         "spec.batch.output.format", '"Parquet"'),
    case("deployment", BATCH | {"spec.batch": SCORED | {"rowsPerShard": 0}},
         "spec.batch.rowsPerShard", "equal to 1"),
]  # fmt: skip

SHARED = {"spec.placement.server": "Shared"}
REFUSED_BY_SERVER_TOO += [
    case("deployment", SHARED | BATCH, "spec.mode", "set mode Online"),
    case("deployment", SHARED | {"spec.canary": {"modelVersion": VERSION, "percent": 1}},
         "spec.canary", "remove canary, or set placement.server to Dedicated"),
    case("deployment", SHARED | {"spec.gateway": {"name": "a", "hostname": "b.c"}}, "spec.gateway",
         "remove gateway, or set placement.server to Dedicated"),
    case("deployment", SHARED | {"spec.autoscaling": {"maxReplicas": 3,
                                                      "targetRequestsPerSecond": 9}},
         "spec.autoscaling", "remove autoscaling, or set placement.server to Dedicated"),
    case("deployment", SHARED | {"spec.replicas": 2}, "spec.replicas", "remove replicas"),
    case("deployment", SHARED | {"spec.workers": 2}, "spec.workers", "remove workers"),
    case("deployment", SHARED | {"spec.resources": CPU}, "spec.resources",
         "Project's spec.sharedServing"),
    case("deployment", {"spec.placement.server": "Together"}, "spec.placement.server", '"Shared"'),
    case("project", {"spec.sharedServing": {"memory": "900Ki"}}, "spec.sharedServing.memory",
         "less than 1Mi"),
]  # fmt: skip

REFUSED_HERE = [
    case("deployment", BATCH | {"spec.batch": {"input": {"source": {"path": "/d"}},
                                               "output": {"uri": "file:///d/scored"}}},
         "spec.batch.output.uri", "choose a folder outside"),
    case("deployment", BATCH | {"spec.batch": {"input": {"datasetRef": {"name": "wines"}}}},
         "spec.batch.input.datasetRef.name", "did you mean wine?"),
    case("deployment", BATCH | {"spec.batch": {"input": {"source": {"path": "no.csv"}}}},
         "spec.batch.input.source.path", "no such file"),
    case("deployment", BATCH | {"spec.batch": SCORED | {"output": {"uri": "s3://b/p", "connectionRef": {"name": "lake"}}}},
         "spec.batch.output.connectionRef.name", "add it to its spec.connections"),
    case("deployment", BATCH, "spec.deploymentRef.name", "name one of mode Online"),
    case("project", {"spec.members": [ANN, ANN]}, "spec.members[1]", "Duplicate"),
    case("experiment", {"spec.execution.parallelism": 3}, "spec.execution.parallelism",
         "3 is more than the Project's spec.quota.parallelTrials, 2; lower the one or raise"),
    case("project", {"spec.quota.parallelTrials": 1}, "spec.execution.parallelism",
         "2 is more than the Project's spec.quota.parallelTrials, 1;"),
    case("experiment", {"spec.execution.spot": "Prefer"}, "spec.execution.spot",
         "Project's spec.scheduling.spot"),
    case("experiment", {"spec.schedule": {"cron": "0 25 * * *"}}, "spec.schedule.cron",
         "0 3 * * MON"),
    case("experiment", {"spec.schedule": {"cron": "0 3 * * *", "timeZone": "Berlin"}},
         "spec.schedule.timeZone", "Europe/Berlin"),
    case("experiment", {"spec.schedule": {"at": "2027-02-30T00:00:00Z"}}, "spec.schedule.at",
         "write one such as"),
    case("dataset", {"spec.expectations": [EXPECTATION, EXPECTATION]},
         "spec.expectations[1]", "Duplicate"),
    case("dataset", {"kind": "DataSet"}, "kind", "did you mean Dataset?"),
    case("dataset", {"apiVersion": "modelyard.dev/v1"}, "apiVersion", "write modelyard.dev/v1alpha1"),
    case("dataset", {"apiVersion": REMOVED}, "apiVersion", "modelyard.dev/v1alpha1"),
    case("dataset", {"kind": REMOVED}, "kind", "every manifest names it"),
    case("dataset", {"metadata": REMOVED}, "metadata", "write metadata with a name"),
    case("dataset", {"metadata.name": REMOVED}, "metadata.name", "give the object a name"),
    case("dataset", {"metadata.name": "My Wine"}, "metadata.name", "lower-case letters"),
    case("dataset", {"metadata.labels": {"tier": 1}}, "metadata.labels.tier", "write '1' quoted"),
    case("dataset", {"metadata.uid": "abc"}, "metadata.uid", "remove it"),
    case("dataset", {"status": {"rows": 1}}, "status", "remove it"),
    case("dataset", {"spec.source": {"path": "nowhere.csv"}}, "spec.source.path",
         "the path counts from"),
    case("dataset", {"spec.source": {"path": "/nowhere.csv"}}, "spec.source.path",
         "no such file or directory: /nowhere.csv"),
    case("dataset", {"spec.source": {"uri": "s3://b/p", "connectionRef": {"name": "lake"}}},
         "spec.source.connectionRef.name", "add it to its spec.connections"),
    case("experiment", {"spec.datasetRef.name": "wines"}, "spec.datasetRef.name",
         "did you mean wine?"),
    case("deployment", {"spec.model.experiment": "beer"}, "spec.model.experiment", "name one of"),
    case("deployment", {"spec.model": {"modelVersion": "beer-0123456789"}},
         "spec.model.modelVersion", "add a manifest of kind ModelVersion"),
    case("deployment", {"spec.canary": {"modelVersion": "beer-0123456789", "percent": 1}},
         "spec.canary.modelVersion", "add a manifest of kind ModelVersion"),
    case("deployment", {"spec.canary": {"experiment": "wines", "stage": "Staging", "percent": 1}},
         "spec.canary.experiment", "did you mean wine?"),
    case("deployment", {"spec.traffic": {"fallback": {"modelVersion": "beer-0123456789"}}},
         "spec.traffic.fallback.modelVersion", "add a manifest of kind ModelVersion"),
    case("monitor", {"spec.deploymentRef.name": "wein"}, "spec.deploymentRef.name", "wine?"),
    case("project", {"spec.environment": "production"}, "spec.model", "add stage"),
    case("project", {"metadata.namespace": "elsewhere"}, "metadata.namespace", "kind Project"),
    case("modelversion", {"metadata.name": "mine"}, "metadata.name", "or set spec.import"),
]  # fmt: skip


def changed(body: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a manifest with values set or removed at dotted paths."""
    body = copy.deepcopy(body)
    for path, value in change.items():
        *parents, last = path.split(".")
        place = body
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is REMOVED:
            del place[last]
        else:
            place[last] = _without_removed(value)
    return body


def _without_removed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_removed(v) for k, v in value.items() if v is not REMOVED}
    return [_without_removed(item) for item in value] if isinstance(value, list) else value


def write_project(directory: Path, broken: Case) -> None:
    directory.mkdir(exist_ok=True)
    for name, body in SOUND.items():
        if name == "modelversion" and broken.file != name:
            continue
        content = changed(body, broken.change) if name == broken.file else body
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def test_the_corpus_holds_at_least_sixty_different_manifests() -> None:
    assert len(REFUSED_BY_SERVER_TOO) + len(REFUSED_HERE) >= 60


@pytest.mark.parametrize("broken", REFUSED_BY_SERVER_TOO + REFUSED_HERE)
def test_validate_names_file_line_field_and_remedy(broken: Case, tmp_path: Path) -> None:
    write_project(tmp_path / "p", broken)
    found = [fault for fault in judge(tmp_path / "p").faults if fault.field == broken.field]
    assert found, [str(fault) for fault in judge(tmp_path / "p").faults]
    fault = found[0]
    assert broken.remedy in fault.message
    assert str(fault).startswith(f"{fault.file}:{fault.line}: {broken.field}: ")
    written = (tmp_path / "p" / fault.file).read_text().splitlines()
    leaf = documents.parse_field_path(broken.field)
    named = [str(part) for part in leaf if f"{part}:" in written[fault.line - 1]]
    assert named or fault.line == 1 or "- " in written[fault.line - 1]


@pytest.mark.parametrize("broken", REFUSED_BY_SERVER_TOO)
def test_the_api_server_refuses_the_same_manifest_naming_the_same_field(
    broken: Case, client: Client
) -> None:
    body = changed(SOUND[broken.file], OWN | broken.change)
    key = Key(body["kind"], NAMESPACE, body["metadata"]["name"])
    client.ensure_namespace(NAMESPACE)
    with pytest.raises(Refused) as refused:
        client.apply(body, key, dry_run=True)
    # Kubernetes names an entry of a keyed list by its key where server-side apply finds the fault.
    told = re.sub(r'\[name="[^"]*"\]', "[0]", str(refused.value))
    # A rule names an entry of a map by its key, in brackets.
    assert broken.field in re.sub(r"\[([A-Za-z]\w*)\]", r".\1", told)


@pytest.mark.parametrize("name", sorted(SOUND))
def test_sound_manifests_have_no_faults(name: str) -> None:
    assert list(schema.faults(SOUND[name]["kind"], SOUND[name])) == []


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param({"cron": "0 3 * * MON", "timeZone": "Europe/Berlin"}, id="cron"),
        pytest.param({"every": "6h", "startingDeadline": "1h"}, id="every"),
        pytest.param({"at": "2027-01-31T03:00:00+01:00"}, id="at"),
    ],
)
def test_the_api_server_takes_a_sound_schedule(schedule: dict[str, str], client: Client) -> None:
    body = changed(SOUND["experiment"], OWN | {"spec.schedule": schedule})
    key = Key(body["kind"], NAMESPACE, body["metadata"]["name"])
    client.ensure_namespace(NAMESPACE)
    taken = client.apply(body, key, dry_run=True)["spec"]["schedule"]
    assert taken == schedule | {"concurrencyPolicy": "Forbid"}


def test_an_endpoint_never_becomes_a_batch(client: Client) -> None:
    key = Key("Deployment", NAMESPACE, "lasting")
    body = changed(SOUND["deployment"], OWN | {"metadata.name": key.name})
    client.ensure_namespace(NAMESPACE)
    client.apply(body, key)
    with pytest.raises(Refused, match="add another Deployment"):
        client.apply(changed(body, BATCH), key)
