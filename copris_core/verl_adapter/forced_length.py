"""An agent loop of verl's whose responses end where their row says (``tasks/forced.py``)."""

from typing import Any

from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from copris_core.tasks.forced import LENGTHS_FACT


class ForcedLengthLoop(SingleTurnAgentLoop):
    """verl's single turn, of as many tokens as the row forces on this member of the group."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> Any:
        """Sample exactly that many tokens, whatever the model would end with."""
        lengths = kwargs["extra_info"][LENGTHS_FACT].split()
        length = int(lengths[kwargs["session_id"] % len(lengths)])
        forced = {**sampling_params, "max_tokens": length, "ignore_eos": True}
        return await super().run(forced, **kwargs)
