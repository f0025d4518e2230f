package modelyard.policy.deploy_only_production_stage_test

import data.modelyard.policy.deploy_only_production_stage

test_production_serves if {
	deploy_only_production_stage.allow with input as {"modelVersion": {"stage": "Production"}}
}

test_every_other_stage_does_not if {
	every stage in ["None", "Staging", "Archived", "production"] {
		not deploy_only_production_stage.allow with input as {"modelVersion": {"stage": stage}}
	}
}

test_no_stage_does_not if {
	not deploy_only_production_stage.allow with input as {"modelVersion": {}}
}
