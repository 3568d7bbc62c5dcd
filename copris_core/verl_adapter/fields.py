"""Names under which our data travels through verl's transfer queue; imports nothing."""

VERSION_FIELD = "policy_version"
"""int64 [T] per row: the policy version that sampled each response token."""

STAGE_FIELD = "stage_log_probs"
"""float32 [T] per row: log-probs of the trainer at the end of the stage of each token."""

SAMPLED_MASK_FIELD = "sampled_mask"
"""int64 [T] per row: the response mask before anything was rejected."""

CURRENT_VERSION = "current_version"
"""int per batch: the policy version under update."""
