# Compiled from the rules of Policy trial-budget: change those, not this.
package modelyard.policy.trial_budget

default allow := false

allow if count(deny) == 0

holds_trials(actual) if {
	is_number(actual)
	actual <= 200
}

deny contains reason if {
	actual := object.get(input, ["object", "spec", "search", "trials"], null)
	not holds_trials(actual)
	reason := {
		"rule": "trials",
		"path": "object.spec.search.trials",
		"must": "be <= 200",
		"message": "Lower spec.search.trials.",
		"actual": actual,
	}
}
