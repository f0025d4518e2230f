package modelyard.policy.trial_budget_test

import data.modelyard.policy.trial_budget

test_the_budget_itself_passes if {
	trial_budget.allow with input as search(200)
}

test_more_does_not if {
	not trial_budget.allow with input as search(201)
}

test_an_unknown_number_does_not if {
	not trial_budget.allow with input as {"object": {"spec": {}}}
}

search(trials) := {"object": {"spec": {"search": {"trials": trials}}}}
