package modelyard.policy.no_undeclared_personal_data

default allow := false

allow if {
	input.object.status
	count(deny) == 0
}

deny contains reason if {
	some found in input.object.status.pii
	not found.action
	reason := sprintf(
		"column %s seems to hold %s and no action is declared; add it to spec.privacy.columns",
		[found.column, found.entity],
	)
}
