package modelyard.policy.model_size_limit_test

import data.modelyard.policy.model_size_limit

test_the_limit_itself_passes if {
	model_size_limit.allow with input as size(536870912)
}

test_a_byte_more_does_not if {
	not model_size_limit.allow with input as size(536870913)
}

test_an_unknown_size_does_not if {
	not model_size_limit.allow with input as {"modelVersion": {"status": {}}}
}

size(bytes) := {"modelVersion": {"status": {"artifact": {"sizeBytes": bytes}}}}
