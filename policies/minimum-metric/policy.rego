# Compiled from the rules of Policy minimum-metric: change those, not this.
package modelyard.policy.minimum_metric

default allow := false

allow if count(deny) == 0

holds_auc(actual) if {
	is_number(actual)
	actual >= 0.85
}

deny contains reason if {
	actual := object.get(input, ["modelVersion", "status", "metrics", "roc_auc"], null)
	not holds_auc(actual)
	reason := {
		"rule": "auc",
		"path": "modelVersion.status.metrics.roc_auc",
		"must": "be >= 0.85",
		"message": "Improve the model, or lower the value in the Policy.",
		"actual": actual,
	}
}
