"""Experiment: a search over models for one task, ending in one ModelVersion."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelyard.api.compute import Resources
from modelyard.api.features import Features
from modelyard.api.meta import (
    Column,
    Duration,
    Model,
    NameReference,
    RememberedRun,
    Rule,
    Run,
    RunStatus,
    Status,
    Text,
    Verdict,
    refers_to,
)
from modelyard.api.schedule import Schedule, ScheduleStatus

Metric = Literal[
    "roc_auc",
    "average_precision",
    "log_loss",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "rmse",
    "mae",
    "r2",
]
CLASSIFICATION_METRICS: tuple[Metric, ...] = (
    "roc_auc",
    "average_precision",
    "log_loss",
    "accuracy",
    "balanced_accuracy",
    "f1",
)
LOWER_IS_BETTER: tuple[Metric, ...] = ("log_loss", "rmse", "mae")
Learner = Literal[
    "LightGBM", "XGBoost", "CatBoost", "Linear", "ExtraTrees", "TorchMLP", "KNeighbors"
]
Engine = Literal["Native", "FLAML", "AutoGluon"]

_CLASSIFICATION = "['" + "', '".join(CLASSIFICATION_METRICS) + "']"


class Task(Model):
    """What is predicted, and by which measure a model is better."""

    cel_rules = (
        Rule(
            f"!has(self.metric) || (self.type == 'Classification') == (self.metric in "
            f"{_CLASSIFICATION})",
            "the metric does not fit the task type; Regression takes rmse, mae or r2, "
            "Classification takes roc_auc, average_precision, log_loss, accuracy, "
            "balanced_accuracy or f1",
            ".metric",
        ),
        Rule(
            "!has(self.positiveLabel) || self.type == 'Classification'",
            "positiveLabel belongs to Classification; remove it",
            ".positiveLabel",
        ),
        Rule(
            "!has(self.imbalance) || self.type == 'Classification'",
            "imbalance belongs to Classification; remove it",
            ".imbalance",
        ),
        Rule(
            "!has(self.rareClasses) || self.type == 'Classification'",
            "rareClasses belongs to Classification; remove it",
            ".rareClasses",
        ),
    )
    type: Literal["Classification", "Regression"] = Field(description="Kind of prediction.")
    target: Column = Field(description="Column that is predicted.")
    positive_label: Text | None = Field(
        default=None,
        description="Binary classification: the value of the target that counts as positive; "
        "the rarer one when unset.",
    )
    metric: Metric | None = Field(
        default=None,
        description="What is optimised: roc_auc for two classes, log_loss for more, rmse for "
        "regression when unset.",
    )
    imbalance: Literal["None", "Balanced"] | None = Field(
        default=None,
        description="Balanced weighs rows inversely to the frequency of their class; None "
        "when unset.",
    )
    rare_classes: Literal["Fail", "Drop"] | None = Field(
        default=None,
        description="Of classes with too few rows for the folds and the holdout: Fail ends the "
        "run and names one; Drop leaves their rows out, so that they are never predicted, and the "
        "model card names them. Fail when unset.",
    )


class Validation(Model):
    """How candidates are judged: folds for ranking, one holdout that only the winner sees, once."""

    cel_rules = (
        Rule(
            "!has(self.method) || self.method != 'OneFold' || !has(self.timeColumn)",
            "one fold is one stretch of time; remove timeColumn, or set method to AllFolds",
            ".method",
        ),
    )
    method: Literal["AllFolds", "OneFold"] | None = Field(
        default=None,
        description="AllFolds fits a candidate for each fold without it, and judges it there; "
        "OneFold fits it once, and judges it on the first fold alone. Unset it is OneFold where "
        "budget.wallClock is short for so many rows, features and classes, else AllFolds.",
    )
    folds: int = Field(
        default=5,
        ge=2,
        le=20,
        description="Folds that the rows are split into, beside the holdout; of OneFold the parts "
        "that the first fold is judged by, too.",
    )
    holdout: float = Field(
        default=0.2, ge=0.05, le=0.5, description="Share of rows kept apart for the winner alone."
    )
    time_column: Column | None = Field(
        default=None,
        description="Column that tells when a row became known: the holdout is the latest rows, "
        "and each fold a stretch of time. Rows are split at random when unset.",
    )


class Leakage(Model):
    """How much the data may give away; a run is stopped beyond it, and what was found is named."""

    accept: list[Column] = Field(
        default=[],
        max_length=1000,
        description="Columns that are known before the target although they tell it, a time or a "
        "row; the model card names them.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    max_power: float = Field(
        default=0.98,
        ge=0.5,
        le=1,
        description="Share of the error of a naive prediction that one column alone may take away.",
    )
    max_repeated_rows: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Share of the rows that may be copies of others; fewer are kept together, on "
        "one side of the split.",
    )


class EarlyStopping(Model):
    """Stops hopeless trials after some folds."""

    type: Literal["None", "SuccessiveHalving", "Hyperband"] = Field(
        default="SuccessiveHalving",
        description="SuccessiveHalving compares trials at each rung, as ASHA does; Hyperband in "
        "brackets that skip some rungs; None runs every trial over all folds.",
    )
    reduction_factor: int = Field(
        default=3, ge=2, le=10, description="One of this many trials goes on at each rung."
    )


class Parameter(Model):
    """Values of one hyperparameter: within those that its family of models is searched over."""

    cel_rules = (
        Rule(
            "(self.type == 'Categorical') == has(self.choices)",
            "Categorical takes choices, Float and Integer take low and high",
        ),
        Rule(
            "(self.type == 'Categorical') != (has(self.low) && has(self.high)) && "
            "has(self.low) == has(self.high)",
            "Float and Integer take both low and high, Categorical takes neither",
        ),
        Rule(
            "!has(self.low) || !has(self.high) || self.low <= self.high",
            "low must not be above high; make them equal to fix the value",
            ".low",
        ),
        Rule(
            "self.type != 'Integer' || (!has(self.low) || double(int(self.low)) == self.low) && "
            "(!has(self.high) || double(int(self.high)) == self.high) && "
            "(!has(self.step) || double(int(self.step)) == self.step)",
            "low, high and step of an Integer must be whole numbers; use type Float",
        ),
        Rule(
            "!self.log || self.type != 'Categorical' && has(self.low) && self.low > 0.0 && "
            "!has(self.step)",
            "log takes a low above 0, no step and no Categorical; remove log or the other",
            ".log",
        ),
        Rule(
            "!has(self.step) || self.type != 'Categorical'",
            "step belongs to Float and Integer; remove it",
            ".step",
        ),
    )
    type: Literal["Float", "Integer", "Categorical"] = Field(description="Kind of the values.")
    low: float | None = Field(default=None, description="The least value.")
    high: float | None = Field(default=None, description="The greatest value.")
    log: bool = Field(
        default=False, description="Whether proposals are spread evenly over its logarithm."
    )
    step: float | None = Field(
        default=None, gt=0, description="Distance of the values from low on; any when unset."
    )
    choices: list[Text] | None = Field(
        default=None,
        min_length=1,
        max_length=20,
        description="Values of a Categorical.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class WarmStart(Model):
    """Which earlier configurations a search begins with."""

    from_: Literal["Project"] = Field(
        default="Project",
        alias="from",
        description="Project takes them from the finished runs of all Experiments of the Project: "
        "first those of the same Dataset, then those whose data are most alike.",
    )
    k: int = Field(
        default=3,
        ge=1,
        le=20,
        description="Most configurations to begin with, the best of a run each; they count as "
        "trials. With algorithm TPE others that were good in such runs guide what is proposed.",
    )


_NATIVE = "!has(self.engine) || self.engine == 'Native' || "


class Search(Model):
    """How models and hyperparameters are looked for. Budgets count trials."""

    cel_rules = (
        Rule(
            f"{_NATIVE}self.algorithm == 'TPE'",
            "algorithm belongs to engine Native, other engines have their own; remove it",
            ".algorithm",
        ),
        Rule(
            f"{_NATIVE}!has(self.space)",
            "space belongs to engine Native, other engines have hyperparameters of their own; "
            "remove it",
            ".space",
        ),
        Rule(
            f"{_NATIVE}!has(self.warmStart)",
            "warmStart belongs to engine Native, other engines have hyperparameters of their own; "
            "remove it",
            ".warmStart",
        ),
        Rule(
            f"{_NATIVE}!self.learners.exists(x, x == 'TorchMLP')",
            "TorchMLP belongs to engine Native; remove it",
            ".learners",
        ),
        Rule(
            f"{_NATIVE}!self.learners.exists(x, x == 'KNeighbors')",
            "KNeighbors belongs to engine Native; remove it",
            ".learners",
        ),
        Rule(
            "self.learners.all(l, self.learners.exists_one(x, x == l))",
            "a family of models is named twice; remove one",
            ".learners",
        ),
        Rule(
            "!has(self.space) || self.space.all(l, self.learners.exists(x, x == l))",
            "space names a family of models that is not in learners; add it there or remove it",
            ".space",
        ),
        Rule(
            "self.algorithm != 'Grid' || has(self.space)",
            "Grid needs spec.search.space, whose values it tries; declare them with choices, step "
            "or low equal to high",
            ".algorithm",
        ),
        Rule(
            "self.algorithm != 'PBT' || self.learners.all(l, l in ['LightGBM', 'XGBoost', "
            "'TorchMLP'])",
            "PBT changes hyperparameters during a fit, which LightGBM, XGBoost and TorchMLP allow; "
            "name only these",
            ".learners",
        ),
        Rule(
            "self.algorithm != 'Grid' || !has(self.warmStart)",
            "Grid tries the declared space alone; remove warmStart or choose another algorithm",
            ".warmStart",
        ),
    )
    engine: Engine | None = Field(
        default=None,
        description="What proposes configurations and fits them: Native is Modelyard's own, FLAML "
        "and AutoGluon those libraries; Native when unset. Folds, limits, ensemble and evidence "
        "are the same for all; one that is not installed is BackendMissing.",
    )
    algorithm: Literal["TPE", "Random", "Evolutionary", "Grid", "PBT"] = Field(
        default="TPE",
        description="Sampler of engine Native: TPE is a tree-structured Parzen estimator, a "
        "Bayesian method; Evolutionary a genetic algorithm, NSGA-II; Grid tries every combination "
        "of the declared space; PBT trains good models on with changed hyperparameters.",
    )
    trials: int = Field(default=24, ge=1, le=10_000, description="Number of trials.")
    learners: list[Learner] = Field(
        default=["LightGBM", "Linear", "ExtraTrees"],
        min_length=1,
        max_length=8,
        description="Families of models; one that is not installed is BackendMissing, never "
        "skipped. A model of KNeighbors holds training rows: their encoded columns and targets, at "
        "most 10,000. Whoever may read the model may read these.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    space: dict[str, Annotated[dict[str, Parameter], Field(max_length=32)]] | None = Field(
        default=None,
        max_length=8,
        description="Values of hyperparameters by learner and by name, narrower than those that "
        "are searched otherwise.",
    )
    warm_start: WarmStart | None = Field(
        default=None,
        description="Begins with the best configurations of earlier runs; with the defaults alone "
        "when unset.",
    )
    early_stopping: EarlyStopping = Field(
        default=EarlyStopping(), description="Whether and how trials are stopped early."
    )
    trial_timeout: Duration = Field(
        default="30m",
        description="A trial that runs longer is ended and counted as failed. Backend Argo counts "
        "from when its process has loaded the libraries.",
    )
    max_failed_trials: int = Field(
        default=10, ge=0, le=10_000, description="The run fails when more trials than this fail."
    )


class Objective(Model):
    """One thing that a model is the better for."""

    type: Literal["Metric", "Latency", "ModelSize"] = Field(
        description="Metric is that of the task, out of fold; Latency the 95th percentile of "
        "single rows; ModelSize the bytes of the packed model."
    )
    weight: float = Field(
        default=1,
        gt=0,
        le=1000,
        description="How much its share of the front's range counts, for Weighted and "
        "ClosestToIdeal.",
    )


class Constraints(Model):
    """Limits that the winner must keep; measured in a fresh process on the packed model."""

    latency_ms_p95: float | None = Field(
        default=None,
        gt=0,
        description="Most milliseconds that 95 of 100 single rows take to predict.",
    )
    max_model_mb: float | None = Field(
        default=None,
        gt=0,
        alias="maxModelMB",
        description="Most megabytes that the files of the packed model take.",
    )


class Select(Model):
    """How the winner is chosen from the Pareto front of the objectives."""

    rule: Literal["Weighted", "Lexicographic", "ClosestToIdeal"] = Field(
        default="Lexicographic",
        description="Weighted takes the least weighted sum of the losses, each as a share of its "
        "range on the front; ClosestToIdeal the least distance to the best of all; Lexicographic "
        "the best by the first objective, of equals by the next.",
    )


class Ensemble(Model):
    """How the best trials are combined; all of it is found on out-of-fold predictions only."""

    type: Literal["None", "Weighted", "Voting", "Stacked", "Blended"] = Field(
        default="Weighted",
        description="None takes the best single trial; Weighted the mean of the best trial of each "
        "family, with the less weight the more surely it trails the best, or of a greedy selection "
        "where that is clearly better out of fold; Voting the plain mean of the best trial of each "
        "family; Stacked weights of log-odds, or of values, fitted "
        "on all out-of-fold predictions; Blended those fitted on one fold of them.",
    )
    max_models: int = Field(
        default=5,
        ge=1,
        le=50,
        description="Most trials in the ensemble. Where they are judged on one fold, and "
        "budget.wallClock is short, it has no more than execution.parallelism.",
    )
    bagging: Literal["Folds"] | None = Field(
        default=None,
        description="Folds keeps the fits by which each chosen trial was judged, as members of "
        "equal weight, at as many times the size and time as there are folds. When unset, a chosen "
        "trial is fitted once more, on all rows.",
    )


class Lime(Model):
    """Local linear models around single rows of the holdout."""

    rows: int = Field(default=5, ge=1, le=100, description="Rows of the holdout to explain.")


class Counterfactuals(Model):
    """What would have to be different in a row for another class to be predicted."""

    rows: int = Field(default=5, ge=1, le=1000, description="Rows of the holdout to explain.")
    immutable: list[Column] = Field(
        default=[],
        max_length=1000,
        description="Features that nobody can change, for example an age.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class Explain(Model):
    """What evidence is computed for the winner."""

    permutation_repeats: int = Field(
        default=5, ge=0, le=100, description="Repeats of the permutation importance; 0 for none."
    )
    shap_rows: int = Field(
        default=200,
        ge=0,
        le=100_000,
        description="Holdout rows that SHAP values are computed for; 0 for none.",
    )
    partial_dependence: list[Column] | None = Field(
        default=None,
        min_length=1,
        max_length=20,
        description="Features whose effect on the prediction is drawn, on average and for single "
        "rows (ICE).",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    lime: Lime | None = Field(
        default=None, description="Local linear models of single rows; none when unset."
    )
    counterfactuals: Counterfactuals | None = Field(
        default=None, description="What would turn single predictions; none when unset."
    )


class ErrorCosts(Model):
    """What a wrong decision costs, in any unit; right ones cost nothing."""

    cel_rules = (
        Rule(
            "self.falsePositive > 0.0 || self.falseNegative > 0.0",
            "errors that cost nothing leave nothing to minimise; raise one of them",
            ".falsePositive",
        ),
    )
    false_positive: float = Field(ge=0, le=1e12, description="Of a negative row taken as positive.")
    false_negative: float = Field(ge=0, le=1e12, description="Of a positive row taken as negative.")


class Threshold(Model):
    """From which probability on a row counts as positive; the served label follows it."""

    cel_rules = (
        Rule(
            "has(self.value) != has(self.costs)",
            "set either value, or costs that the threshold is found by",
        ),
    )
    value: float | None = Field(default=None, gt=0, lt=1, description="A fixed probability.")
    costs: ErrorCosts | None = Field(
        default=None,
        description="The threshold is the one with the least cost on out-of-fold predictions.",
    )


class Intervals(Model):
    """Conformal intervals of a regression, and sets of classes, by out-of-fold predictions."""

    coverage: float = Field(
        default=0.9,
        ge=0.5,
        le=0.99,
        description="Share of new rows whose true value is to lie inside.",
    )


class Evaluation(Model):
    """What the winner's predictions become once it is chosen, by its out-of-fold predictions."""

    calibration: Literal["None", "Platt", "Isotonic"] = Field(
        default="None",
        description="Platt fits a logistic curve from predicted to observed probabilities, "
        "Isotonic a rising one of any form, which needs more rows.",
    )
    threshold: Threshold | None = Field(
        default=None, description="Two classes: when a row is positive; 0.5 when unset."
    )
    intervals: Intervals | None = Field(
        default=None, description="How sure a single prediction is; not told when unset."
    )


class FairnessLimits(Model):
    """Largest differences between groups that are tolerated; one beyond them is a defect."""

    demographic_parity: float | None = Field(
        default=None, ge=0, le=1, description="Of the rate of positive predictions."
    )
    equalized_odds: float | None = Field(
        default=None, ge=0, le=1, description="Of the true or false positive rates."
    )
    metric: float | None = Field(
        default=None, ge=0, description="Of the task's metric (regression: of the mean error)."
    )


class Fairness(Model):
    """Sensitive columns for which differences between groups are measured."""

    cel_rules = (
        Rule(
            "!has(self.limits) || self.sensitive.size() > 0",
            "limits hold between the groups of sensitive columns, and none is named; name one",
            ".limits",
        ),
    )

    sensitive: list[Column] = Field(
        default=[],
        max_length=20,
        description="Columns whose groups are compared; they are not used as features.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    limits: FairnessLimits | None = Field(
        default=None,
        description="Largest differences that are tolerated; 0.1 of both rates when unset.",
    )
    slices: list[Column] | None = Field(
        default=None,
        min_length=1,
        max_length=20,
        description="Further columns, features among them, by whose groups the metric is told.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class Budget(Model):
    """A limit besides the number of trials."""

    wall_clock: Duration | None = Field(
        default=None,
        description="Time of the search and of fitting its winner, for example 30m: no trial "
        "starts that would end too late, as far as earlier ones tell, and one that is late all the "
        "same is ended. The first ones, as many as run at once, always end, however short it is. "
        "Marks the result Replayable=False.",
    )


DEFAULT_PARALLELISM = 2


class Execution(Model):
    """Where trials run. The backend does not change the model; the parallelism may."""

    backend: Literal["Argo", "Ray"] = Field(
        default="Argo", description="Argo runs the search as a Workflow, Ray as a RayJob."
    )
    parallelism: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Trials that run at once: no more than spec.quota.parallelTrials of the "
        "Project. It decides which earlier results a trial sees, so it shapes the model. Unset "
        f"counts as {DEFAULT_PARALLELISM}, of which as many run at once as the quota grants.",
    )
    spot: Literal["Prefer", "Never"] = Field(
        default="Never",
        description="Prefer puts the run on the Project's spot nodes where there is room; a run "
        "that loses its node goes on from the last finished trial.",
    )

    @property
    def shaping_parallelism(self) -> int:
        """The parallelism in the run identity: by it a trial knows which results it may see."""
        return self.parallelism or DEFAULT_PARALLELISM


class ExperimentRun(Run):
    """A run of an Experiment, which can also be cancelled."""

    cancel: bool = Field(
        default=False,
        description="Whether the present run is stopped; it counts as failed, Cancelled.",
    )


NOT_SHAPING = (
    "description",
    "deletionPolicy",
    "suspend",
    "run",
    "schedule",
    "datasetRef",
    "resources",
)
"""Fields of the spec that shape neither the model nor its evidence."""

CHOOSING = ("objectives", "constraints", "select", "ensemble", "evaluation", "explain")
"""Fields that shape the model, yet no trial: they choose among trials, or tell of the winner."""


class ExperimentSpec(Model):
    """Desired state of an Experiment."""

    cel_rules = (
        Rule(
            "!self.features.exclude.exists(c, c == self.task.target)",
            "the target cannot be excluded; remove it from features.exclude",
            ".features.exclude",
        ),
        Rule(
            "!self.fairness.sensitive.exists(c, c == self.task.target)",
            "the target cannot be a sensitive column; remove it from fairness.sensitive",
            ".fairness.sensitive",
        ),
        Rule(
            "!has(self.features.selection) || self.features.selection.method != 'ChiSquared' || "
            "self.task.type == 'Classification'",
            "ChiSquared compares classes, and a Regression has none; use MutualInformation",
            ".features.selection.method",
        ),
        Rule(
            "!has(self.explain.counterfactuals) || self.task.type == 'Classification'",
            "a counterfactual turns a class, and a Regression has none; remove it",
            ".explain.counterfactuals",
        ),
        Rule(
            "!has(self.evaluation) || self.evaluation.calibration == 'None' || "
            "self.task.type == 'Classification'",
            "probabilities are calibrated, and a Regression has none; remove calibration",
            ".evaluation.calibration",
        ),
        Rule(
            "!has(self.evaluation) || !has(self.evaluation.threshold) || "
            "self.task.type == 'Classification'",
            "a threshold belongs to Classification; remove it",
            ".evaluation.threshold",
        ),
        Rule(
            "!has(self.fairness.limits) || self.task.type == 'Classification' || "
            "(!has(self.fairness.limits.demographicParity) && "
            "!has(self.fairness.limits.equalizedOdds))",
            "rates of positive predictions belong to Classification; a Regression takes metric",
            ".fairness.limits",
        ),
        Rule(
            "!has(self.validation.timeColumn) || self.validation.timeColumn != self.task.target",
            "the target cannot be the time of a row; name another column",
            ".validation.timeColumn",
        ),
        Rule(
            "self.ensemble.type != 'Voting' || self.search.learners.size() > 1",
            "Voting combines the best trials of different families, and there is one; name "
            "another in search.learners or use Stacked",
            ".ensemble.type",
        ),
        Rule(
            "!has(self.ensemble.bagging) || (has(self.validation.method) && "
            "self.validation.method == 'AllFolds')",
            "a bag holds a fit of each fold; set validation.method to AllFolds",
            ".ensemble.bagging",
        ),
        Rule(
            "!has(self.select) || has(self.objectives)",
            "select chooses from the front of objectives; declare spec.objectives or remove it",
            ".select",
        ),
    )
    description: Text = Field(default="", description="What the model is for, in a sentence.")
    dataset_ref: NameReference = Field(
        description="The Dataset that is learned from.", json_schema_extra=refers_to("Dataset")
    )
    task: Task = Field(description="What is predicted.")
    features: Features = Field(
        default=Features(), description="Which columns are used, and what is made of them."
    )
    validation: Validation = Field(default=Validation(), description="Folds and holdout.")
    leakage: Leakage | None = Field(
        default=None,
        description="How much the data may give away; the defaults hold when unset.",
    )
    search: Search = Field(default=Search(), description="Sampler, trials and families of models.")
    objectives: list[Objective] | None = Field(
        default=None,
        min_length=1,
        max_length=3,
        description="What the winner is chosen by, the most important first; the metric of the "
        "task when unset. The search itself follows the metric.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    )
    constraints: Constraints | None = Field(
        default=None, description="Limits that the winner must keep; none when unset."
    )
    select: Select | None = Field(
        default=None, description="How the winner is chosen from the Pareto front."
    )
    ensemble: Ensemble = Field(default=Ensemble(), description="How trials are combined.")
    evaluation: Evaluation | None = Field(
        default=None,
        description="Calibration, threshold and intervals; predictions stay as they are when "
        "unset.",
    )
    explain: Explain = Field(default=Explain(), description="Evidence computed for the winner.")
    fairness: Fairness = Field(default=Fairness(), description="Sensitive columns.")
    budget: Budget = Field(default=Budget(), description="A limit besides the number of trials.")
    execution: Execution = Field(default=Execution(), description="Backend and parallelism.")
    resources: Resources = Field(
        default=Resources(),
        description="What each pod of the search asks for; it does not change the model. With "
        "backend Ray the head and every worker are such a pod.",
    )
    seed: int = Field(default=42, ge=0, le=2**31 - 1, description="Seed of everything random.")
    run: ExperimentRun = Field(
        default=ExperimentRun(), description="Asks for a new run by a new token, or cancels one."
    )
    schedule: Schedule | None = Field(
        default=None,
        description="When a new run starts by itself; nothing starts before its first slot. A "
        "change of the spec or a new snapshot starts a run between slots, as without a schedule.",
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain",
        description="Whether the run records of this object stay in the store when it is deleted.",
    )
    suspend: bool = Field(
        default=False,
        description="Whether the run is stopped; it goes on from the last finished trial.",
    )

    def shaping_fields(self) -> dict[str, object]:
        """Return the spec fields that shape the model and its evidence, for the run identity."""
        fields = self.to_json()
        for name in NOT_SHAPING:
            fields.pop(name, None)
        fields["execution"] = {"parallelism": self.execution.shaping_parallelism}
        search = dict(fields["search"])
        search.pop("trialTimeout")
        search.pop("maxFailedTrials")
        fields["search"] = search
        return fields

    def trial_fields(self) -> dict[str, object]:
        """Return what shapes the trials: runs that agree in it, and in the data, share them."""
        fields = self.shaping_fields()
        for name in CHOOSING:
            fields.pop(name, None)
        return {**fields, "token": self.run.token}


class Progress(Model):
    """How far the search is."""

    done: int = Field(ge=0, description="Trials that ended, failed ones among them.")
    failed: int = Field(default=0, ge=0, description="Trials that failed.")
    failures: list[Annotated[str, Field(max_length=400)]] | None = Field(
        default=None, max_length=5, description="Which trials failed first, and why."
    )
    total: int = Field(ge=0, description="Number of trials in all.")
    best_metric: float | None = Field(
        default=None, description="Best out-of-fold value of the metric so far."
    )
    eta: str = Field(default="", max_length=16, description="Estimated rest, for example 40s.")


class Interval(Model):
    """Where a metric lies with a confidence of 95 %."""

    low: float = Field(description="Lower end of the interval.")
    high: float = Field(description="Upper end of the interval.")


ENSEMBLE = "ensemble"
"""What stands in the leaderboard for the number of a trial where several make up the candidate."""


class LeaderboardEntry(Model):
    """One candidate, ranked by its out-of-fold metric."""

    rank: int = Field(ge=1, description="Place in the ranking, from 1.")
    trial: str = Field(description="Number of the trial, or `ensemble`.", max_length=32)
    learner: str = Field(description="Family of models.", max_length=63)
    metric: float = Field(description="Out-of-fold value of the task's metric.")
    interval: Interval | None = Field(
        default=None, description="Where it lies with a confidence of 95 %, by its folds."
    )
    latency_ms_p95: float | None = Field(
        default=None, ge=0, description="Milliseconds of a single row, where it was measured."
    )
    model_mb: float | None = Field(
        default=None,
        ge=0,
        alias="modelMB",
        description="Megabytes of the packed model, where it was measured.",
    )
    pareto: bool | None = Field(
        default=None, description="Whether it stands on the Pareto front, where there is one."
    )


class ReusedTrial(Model):
    """A trial of an earlier run, whose configuration a search began with."""

    experiment: str = Field(max_length=253, description="Name of its Experiment.")
    identity: str = Field(max_length=64, description="Identity of its run.")
    trial: int = Field(ge=0, description="Number of the trial.")
    learner: str = Field(max_length=63, description="Family of models.")


class PastRun(RememberedRun):
    """One run of an Experiment."""

    model_version: str | None = Field(
        default=None, max_length=253, description="Name of the winner's ModelVersion."
    )
    best_metric: str | None = Field(
        default=None, max_length=32, description="Holdout value of the metric, as text."
    )


class TrackingStatus(Model):
    """Where a run is tracked besides its record."""

    identity: str = Field(description="Identity of the tracked run.", max_length=64)
    run_id: str = Field(description="Id of the run at the tracking server.", max_length=64)
    uri: str = Field(description="URL of the tracking server.", max_length=1024)


class ExperimentStatus(Status):
    """Observed state of an Experiment."""

    run: RunStatus | None = Field(default=None, description="The run of the present spec.")
    schedule: ScheduleStatus | None = Field(default=None, description="Where the schedule stands.")
    progress: Progress | None = Field(default=None, description="How far the search is.")
    metric: str | None = Field(default=None, max_length=32, description="Metric that is optimised.")
    leaderboard: list[LeaderboardEntry] = Field(
        default=[], max_length=10, description="The ten best, ranked out of fold."
    )
    pareto: list[LeaderboardEntry] | None = Field(
        default=None,
        max_length=20,
        description="The Pareto front of spec.objectives among the candidates that keep "
        "spec.constraints, best by the metric first.",
    )
    reused_trials: list[ReusedTrial] | None = Field(
        default=None,
        max_length=20,
        description="Trials of earlier runs that the search began with, by spec.search.warmStart.",
    )
    best_model_version: str | None = Field(
        default=None, max_length=253, description="Name of the winner's ModelVersion."
    )
    best_metric: str | None = Field(
        default=None,
        max_length=32,
        description="Holdout value of the metric of the winner, as text.",
    )
    verdicts: list[Verdict] = Field(
        default=[], max_length=20, description="What the Policies at the train gate said."
    )
    tracking: TrackingStatus | None = Field(
        default=None, description="The run of the present spec at the Project's tracking server."
    )
    history: list[PastRun] = Field(
        default=[], max_length=10, description="The last ten runs, the latest first."
    )
