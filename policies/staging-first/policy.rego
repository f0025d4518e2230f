# Compiled from the rules of Policy staging-first: change those, not this.
package modelyard.policy.staging_first

default allow := false

allow if count(deny) == 0

holds_stage(actual) if {
	type_name(actual) in ["string"]
	actual in ["Staging", "Production"]
}

deny contains reason if {
	actual := object.get(input, ["modelVersion", "stage"], null)
	not holds_stage(actual)
	reason := {
		"rule": "stage",
		"path": "modelVersion.stage",
		"must": "be one of [\"Staging\", \"Production\"]",
		"message": "Set spec.stage to Staging first, and to Production in a later commit.",
		"actual": actual,
	}
}
