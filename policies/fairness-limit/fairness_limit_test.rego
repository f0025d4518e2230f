package modelyard.policy.fairness_limit_test

import data.modelyard.policy.fairness_limit

test_a_small_difference_passes if {
	fairness_limit.allow with input as measured([{"column": "sex", "demographicParityDifference": 0.1}])
}

test_one_column_beyond_the_limit_is_enough if {
	not fairness_limit.allow with input as measured([
		{"column": "sex", "demographicParityDifference": 0.01},
		{"column": "age", "demographicParityDifference": 0.11},
	])
}

test_a_column_without_a_number_does_not_pass if {
	not fairness_limit.allow with input as measured([{"column": "sex"}])
}

test_a_model_that_was_not_measured_does_not_pass if {
	not fairness_limit.allow with input as measured([])
	not fairness_limit.allow with input as {"modelVersion": {"status": {}}}
}

measured(groups) := {"modelVersion": {"status": {"fairness": groups}}}
