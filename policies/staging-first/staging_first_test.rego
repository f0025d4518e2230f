package modelyard.policy.staging_first_test

import data.modelyard.policy.staging_first

test_from_staging_it_may_go if {
	staging_first.allow with input as {"modelVersion": {"stage": "Staging"}}
}

test_what_is_in_production_may_stay if {
	staging_first.allow with input as {"modelVersion": {"stage": "Production"}}
}

test_from_nowhere_it_may_not if {
	not staging_first.allow with input as {"modelVersion": {"stage": "None"}}
	not staging_first.allow with input as {"modelVersion": {"stage": "Archived"}}
	not staging_first.allow with input as {"modelVersion": {}}
}
