package modelyard.policy.data_quality

minimum_score := 0.8

maximum_quarantined_percent := 5

default allow := false

allow if {
	input.object.status.quality.score >= minimum_score
	quarantined_percent <= maximum_quarantined_percent
	count(deny) == 0
}

quarantined_percent := 0 if input.object.status.quarantine.rows == 0

quarantined_percent := (100 * quarantined) / (quarantined + input.object.status.snapshot.rows) if {
	quarantined := input.object.status.quarantine.rows
	quarantined > 0
}

deny contains reason if {
	score := input.object.status.quality.score
	score < minimum_score
	reason := sprintf("quality score is %v, must be >= %v; see status.expectations", [score, minimum_score])
}

deny contains reason if {
	quarantined_percent > maximum_quarantined_percent
	reason := sprintf(
		"%.1f percent of the rows are quarantined, must be <= %v; see status.quarantine",
		[quarantined_percent, maximum_quarantined_percent],
	)
}

deny contains "the input has no quality score" if not is_number(input.object.status.quality.score)

deny contains "the input has no number of quarantined rows" if not is_number(quarantined_percent)
