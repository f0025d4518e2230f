# Compiled from the rules of Policy production-needs-documentation: change those, not this.
package modelyard.policy.production_needs_documentation

default allow := false

allow if count(deny) == 0

holds_intended_use(actual) if {
	is_string(actual)
	actual != ""
}

deny contains reason if {
	actual := object.get(input, ["modelVersion", "spec", "documentation", "intendedUse"], null)
	not holds_intended_use(actual)
	reason := {
		"rule": "intended-use",
		"path": "modelVersion.spec.documentation.intendedUse",
		"must": "be != \"\"",
		"message": "Write spec.documentation.intendedUse of the ModelVersion.",
		"actual": actual,
	}
}

holds_limitations(actual) if {
	is_string(actual)
	actual != ""
}

deny contains reason if {
	actual := object.get(input, ["modelVersion", "spec", "documentation", "limitations"], null)
	not holds_limitations(actual)
	reason := {
		"rule": "limitations",
		"path": "modelVersion.spec.documentation.limitations",
		"must": "be != \"\"",
		"message": "Write spec.documentation.limitations of the ModelVersion.",
		"actual": actual,
	}
}

holds_owner(actual) if {
	is_string(actual)
	actual != ""
}

deny contains reason if {
	actual := object.get(input, ["modelVersion", "spec", "documentation", "owner"], null)
	not holds_owner(actual)
	reason := {
		"rule": "owner",
		"path": "modelVersion.spec.documentation.owner",
		"must": "be != \"\"",
		"message": "Write spec.documentation.owner of the ModelVersion.",
		"actual": actual,
	}
}
