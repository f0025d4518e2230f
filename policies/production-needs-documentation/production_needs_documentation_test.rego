package modelyard.policy.production_needs_documentation_test

import data.modelyard.policy.production_needs_documentation

test_a_documented_model_passes if {
	production_needs_documentation.allow with input as documented({"intendedUse": "a", "limitations": "b", "owner": "c"})
}

test_every_text_is_needed if {
	every missing in ["intendedUse", "limitations", "owner"] {
		texts := object.remove({"intendedUse": "a", "limitations": "b", "owner": "c"}, [missing])
		not production_needs_documentation.allow with input as documented(texts)
	}
}

test_an_empty_text_is_none if {
	not production_needs_documentation.allow with input as documented({"intendedUse": "a", "limitations": "b", "owner": ""})
}

documented(texts) := {"modelVersion": {"spec": {"documentation": texts}}}
