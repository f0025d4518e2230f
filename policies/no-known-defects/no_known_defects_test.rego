package modelyard.policy.no_known_defects_test

import data.modelyard.policy.no_known_defects

test_a_model_without_defects_passes if {
	no_known_defects.allow with input as measured([])
}

test_a_defect_is_told if {
	found := no_known_defects.deny with input as measured([{"name": "Miscalibrated", "message": "m"}])
	found == {"Miscalibrated: m"}
}

test_a_model_without_evidence_does_not_pass if {
	not no_known_defects.allow with input as {"modelVersion": {"status": {"defects": []}}}
}

measured(defects) := {"modelVersion": {"status": {"evidenceUri": "file:///e", "defects": defects}}}
