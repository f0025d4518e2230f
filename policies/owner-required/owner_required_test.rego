package modelyard.policy.owner_required_test

import data.modelyard.policy.owner_required

test_an_owner_is_enough if {
	owner_required.allow with input as {"project": {"owners": ["a"]}}
}

test_without_owners_nothing_is_trained if {
	not owner_required.allow with input as {"project": {"owners": []}}
	not owner_required.allow with input as {"project": {}}
}

test_a_blank_is_no_owner if {
	not owner_required.allow with input as {"project": {"owners": [" "]}}
}
