"""The gate's path with servers that park: the real stop and start, on an engine moved by hand."""

from typing import Any

from verl.workers.rollout.replica import TokenOutput

from copris_core.rollout.concurrency import FixedLimit
from copris_core.verl_adapter.parking import SEGMENTS, EngineCall, ParkingEngine
from tests.verl_adapter.fake_vllm import FakeLLM
from tests.verl_adapter.gate_house import GateHouse
from tests.verl_adapter.scripted import settled


class ParkingServer:
    """``GateServer`` on a ``FakeLLM``."""

    def __init__(self) -> None:
        self.llm = FakeLLM()
        self.parking = ParkingEngine(self.llm)
        self.version = 0
        self.requests: list[dict[str, Any]] = []
        self.sent_back: list[list[str]] = []

    async def generate(self, **request: Any) -> TokenOutput:
        if not await self.parking.may_enter(request.get("stage")):
            return self._output([], "aborted")
        self.requests.append(request)
        visit = EngineCall(response=request["response"], request_id=request["request_id"])
        self.parking.enter(visit)
        try:
            async for output in self.llm.generate(
                prompt={"prompt_token_ids": request["prompt_ids"]},
                sampling_params=request["sampling_params"],
                request_id=request["request_id"],
            ):
                last = output.outputs[0]
        finally:
            self.parking.leave(visit)
        visit.cut(len(last.token_ids), self.version)
        reason = "aborted" if last.finish_reason == "abort" else "completed"
        return self._output(list(last.token_ids), reason, **{SEGMENTS: visit.segments})

    def _output(self, tokens: list[int], reason: str, **extra_fields: Any) -> TokenOutput:
        return TokenOutput(
            token_ids=tokens,
            log_probs=[-token / 10 for token in tokens],
            stop_reason=reason,
            extra_fields={"global_steps": self.version, **extra_fields},
        )

    async def stop(self, stage: int) -> dict[str, int]:
        return await self.parking.stop(stage, self.version)

    async def start_again(self, leaving: list[str]) -> None:
        self.sent_back.append(leaving)
        await self.parking.start(leaving)

    async def sample(self, *tokens: int, finish: bool = False) -> None:
        """Everybody samples these."""
        await self.llm.sample(*tokens, finish=finish)
        await settled()

    async def end(self, response: str, *tokens: int) -> None:
        """One response ends with these."""
        (request_id,) = [each for each in self.llm.ids if each.startswith(f"{response}_")]
        self.llm.step(request_id, *tokens, finish=True)
        await settled()


class ParkingHouse(GateHouse):
    """What a trainer does with the gate between two stages; ``server`` is its only one."""

    def __init__(self, *, servers: int = 1, **house: int) -> None:
        self.servers = {f"server{i}": ParkingServer() for i in range(servers)}
        self.server = self.servers["server0"]
        super().__init__(servers=self.servers, **house)
        self.client._vllm_request_id = lambda name: name

    async def begin(self, *uids: str, size: int = 1) -> None:
        """The first stage, with these prompts."""
        await self.router.draw(list(uids), [size] * len(uids))
        await self.router.open(0)

    async def park(self) -> None:
        """End the stage."""
        if self.router._gate.state.name == "OPEN":
            self.router._gate.close()
        await self.router.park()
        await self.router.drained()

    async def next_stage(self, version: int, *, concurrency: int | None = None) -> None:
        """New weights, and perhaps another limit."""
        for server in self.servers.values():
            server.version = version
        if concurrency is not None:
            self.router._gate._limit = FixedLimit(limit=concurrency)
        await self.router.open(version)

    async def completed(self, uid: str, *, tokens: int) -> None:
        """The only response of a group is stored."""
        await self.router.complete(uid, lengths={0: tokens}, retries=0, error=None)

    async def in_flight(self) -> int:
        return (await self.router.get_status())["in_flight"]
