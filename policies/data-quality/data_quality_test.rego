package modelyard.policy.data_quality_test

import data.modelyard.policy.data_quality

test_the_limits_themselves_pass if {
	data_quality.allow with input as snapshot(0.8, 95, 5)
}

test_a_lower_score_does_not_pass if {
	not data_quality.allow with input as snapshot(0.79, 100, 0)
}

test_more_quarantined_rows_do_not_pass if {
	not data_quality.allow with input as snapshot(0.99, 94, 6)
}

test_an_empty_snapshot_passes_when_nothing_was_quarantined if {
	data_quality.allow with input as snapshot(1, 0, 0)
}

test_without_numbers_nothing_passes if {
	not data_quality.allow with input as {"object": {"status": {}}}
}

snapshot(score, kept, quarantined) := {"object": {"status": {
	"quality": {"score": score},
	"snapshot": {"rows": kept},
	"quarantine": {"rows": quarantined},
}}}
