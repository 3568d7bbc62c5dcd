"""How verl names the rows of its transfer queue: ``uid_session_output``."""

from transfer_queue import KVBatchMeta

from copris_core.rollout.order import ResponseKey


def response_of(row: str) -> ResponseKey:
    """Whose row it is."""
    uid, session, _ = row.rsplit("_", 2)
    return ResponseKey(uid, int(session))


def lengths_of(batch: KVBatchMeta) -> dict[str, int]:
    """Response tokens of each row by its name; rows that verl made up to fill a batch are none."""
    rows = zip(batch.keys, batch.tags, strict=True)
    return {key: tag["response_len"] for key, tag in rows if not tag.get("is_padding", False)}
