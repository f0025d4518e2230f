# Compiled from the rules of Policy deploy-only-production-stage: change those, not this.
package modelyard.policy.deploy_only_production_stage

default allow := false

allow if count(deny) == 0

holds_stage(actual) if {
	is_string(actual)
	actual == "Production"
}

deny contains reason if {
	actual := object.get(input, ["modelVersion", "stage"], null)
	not holds_stage(actual)
	reason := {
		"rule": "stage",
		"path": "modelVersion.stage",
		"must": "be == \"Production\"",
		"message": "Promote the ModelVersion by its spec.stage first.",
		"actual": actual,
	}
}
