package modelyard.policy.fairness_limit

maximum_difference := 0.1

default allow := false

allow if {
	count(input.modelVersion.status.fairness) > 0
	every group in input.modelVersion.status.fairness {
		within_limit(group)
	}
	count(deny) == 0
}

within_limit(group) if {
	is_number(group.demographicParityDifference)
	group.demographicParityDifference <= maximum_difference
}

deny contains reason if {
	some group in input.modelVersion.status.fairness
	not within_limit(group)
	difference := object.get(group, "demographicParityDifference", "undefined")
	reason := sprintf(
		"demographic parity difference of column %s is %v, must be <= %v",
		[group.column, difference, maximum_difference],
	)
}

deny contains "fairness was not measured; declare spec.fairness.sensitive in the Experiment" if {
	count(object.get(input, ["modelVersion", "status", "fairness"], [])) == 0
}
