"""Names under which our data travels through verl's transfer queue; imports nothing."""

VERSION_FIELD = "policy_version"
"""int64 [T] per row: the policy version that sampled each response token."""

CURRENT_VERSION = "current_version"
"""int per batch: the policy version under update."""
