# Compiled from the rules of Policy model-size-limit: change those, not this.
package modelyard.policy.model_size_limit

default allow := false

allow if count(deny) == 0

holds_size(actual) if {
	is_number(actual)
	actual <= 536870912
}

deny contains reason if {
	actual := object.get(input, ["modelVersion", "status", "artifact", "sizeBytes"], null)
	not holds_size(actual)
	reason := {
		"rule": "size",
		"path": "modelVersion.status.artifact.sizeBytes",
		"must": "be <= 536870912",
		"message": "Lower ensemble.maxModels of the Experiment.",
		"actual": actual,
	}
}
