"""What going on with the KV cache of the old weights does to log-probs, in a real engine.

    VERL_PLATFORM=cpu .venv/bin/python -m tests.verl_adapter.kept_kv

A first part of each response is sampled, the weights move, the rest is sampled with kept or with
recomputed KV. The same engine then scores the whole text afresh: |reported - scored| in nats.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

from copris_core.verl_adapter import environment
from copris_core.verl_adapter.engine_stats import EngineStats
from copris_core.verl_adapter.keep import VISIT, KeepingEngine, Visit

MODEL = str(resources.files("copris_core") / "assets" / "tiny_days")
MAX_TOKENS = 160
TOKENS_BEFORE = 40


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one visit to the engine returned."""

    tokens: list[int]
    logps: list[float]
    reason: str
    kept_tokens: int
    cached_tokens: int


class House:
    """A ``KeepingEngine`` on a real engine, and what a server does with it."""

    def __init__(self, engine: Any) -> None:
        from vllm.v1.engine import FinishReason

        self.raw = engine
        self.engine = KeepingEngine(engine, abort=FinishReason.ABORT)
        self.stats = EngineStats()
        self.stats.attach(engine)

    async def visit(
        self, response: str | None, tokens: list[int], max_tokens: int, **params: Any
    ) -> Answer:
        from vllm import SamplingParams

        visit = None if response is None else Visit(response=response)
        VISIT.set(visit)
        sampling = SamplingParams(
            max_tokens=max_tokens, logprobs=0, detokenize=False, ignore_eos=True, **params
        )
        async for output in self.engine.generate(
            prompt={"prompt_token_ids": tokens},
            sampling_params=sampling,
            request_id=f"{response}-{random.random()}",
        ):
            last = output
        sample = last.outputs[0]
        return Answer(
            tokens=list(sample.token_ids),
            logps=[
                told[token].logprob
                for token, told in zip(sample.token_ids, sample.logprobs, strict=True)
            ],
            reason=sample.finish_reason,
            kept_tokens=visit.kept_tokens if visit else 0,
            cached_tokens=last.num_cached_tokens,
        )

    async def scored(self, prompt: list[int], tokens: list[int]) -> list[float]:
        """Log-probs of ``tokens`` after ``prompt``, of the present weights and no old KV."""
        from vllm import SamplingParams

        text = [*prompt, *tokens]
        sampling = SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        async for output in self.raw.generate(
            prompt={"prompt_token_ids": text, "cache_salt": f"score {random.random()}"},
            sampling_params=sampling,
            request_id=f"score-{random.random()}",
        ):
            last = output
        told = last.prompt_logprobs[len(prompt) :]
        return [each[token].logprob for each, token in zip(told, tokens, strict=True)]

    def begin(self, prompts: list[list[int]], max_tokens: int) -> list[asyncio.Task[Answer]]:
        visits = [self.visit(str(i), prompt, max_tokens) for i, prompt in enumerate(prompts)]
        return [asyncio.create_task(visit) for visit in visits]

    async def has_sampled(self, count: int) -> None:
        """Wait until that many more tokens have been sampled."""
        start = self.stats.facts()["generated_tokens"]
        while self.stats.facts()["generated_tokens"] < start + count:
            await asyncio.sleep(0.002)

    async def update(self, relative: float) -> None:
        """As verl does it: new weights, then every cache that can be reset."""
        await self.engine.collective_rpc("nudge", args=(relative, 7))
        await self.engine.reset_prefix_cache(reset_connector=True)
        await self.engine.reset_mm_cache()
        await self.engine.reset_encoder_cache()


@asynccontextmanager
async def real_engine() -> AsyncIterator[House]:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    args = AsyncEngineArgs(
        model=MODEL,
        dtype="float32",
        enforce_eager=True,
        max_model_len=512,
        max_num_seqs=64,
        kv_cache_memory_bytes=1 << 28,
        seed=3,
        stream_interval=100_000,
        worker_extension_cls="tests.verl_adapter.nudge.NudgeExtension",
        distributed_executor_backend="vllm.v1.executor.uniproc_executor.UniProcExecutor",
        disable_log_stats=False,
    )
    engine = AsyncLLM.from_engine_args(args)
    try:
        yield House(engine)
    finally:
        engine.shutdown()


def prompts(count: int) -> list[list[int]]:
    dice = random.Random(5)
    return [[dice.randrange(20, 60) for _ in range(dice.randrange(20, 60))] for _ in range(count)]


def run(story: Callable[[House], Awaitable[None]]) -> None:
    """Tell a story to a real engine; about 40 s of imports on two cores."""
    environment.prepare("cpu")
    import verl  # noqa: F401  loads our plugin, which names the vLLM distribution

    async def told() -> None:
        async with real_engine() as house:
            await story(house)

    asyncio.run(asyncio.wait_for(told(), timeout=240))


async def errors_after(
    house: House, relative: float, *, keep: bool, num_responses: int = 16
) -> list[float]:
    """|reported - scored| of every token that was sampled after the weights moved by that much."""
    asked = prompts(num_responses)
    tasks = house.begin(asked, MAX_TOKENS)
    await house.has_sampled(num_responses * TOKENS_BEFORE)
    await house.engine.pause_generation()
    firsts = [await task for task in tasks]
    if not keep:
        await house.engine.drop_kept()
    await house.update(relative)
    await house.engine.resume_generation()
    resumed = [[*prompt, *first.tokens] for prompt, first in zip(asked, firsts, strict=True)]
    rests = await asyncio.gather(
        *(
            house.visit(str(i), text, MAX_TOKENS - len(first.tokens))
            for i, (text, first) in enumerate(zip(resumed, firsts, strict=True))
        )
    )
    assert all((rest.kept_tokens > 0) == keep for rest in rests)
    scored = await asyncio.gather(
        *(house.scored(text, rest.tokens) for text, rest in zip(resumed, rests, strict=True))
    )
    return [
        abs(told - true)
        for rest, trues in zip(rests, scored, strict=True)
        for told, true in zip(rest.logps, trues, strict=True)
    ]


async def _measure(house: House) -> None:
    print(f"{'weights moved by':>18}  {'KV':>9}  {'tokens':>6}  {'mean':>9}  {'max':>9}")
    for relative in (0.0, 1e-4, 1e-3, 1e-2):
        for keep in (False, True):
            errors = await errors_after(house, relative, keep=keep, num_responses=32)
            name = "kept" if keep else "recomputed"
            mean = sum(errors) / len(errors)
            print(f"{relative:18g}  {name:>9}  {len(errors):6}  {mean:9.2e}  {max(errors):9.2e}")


if __name__ == "__main__":
    os.environ.setdefault("VERL_PLATFORM", "cpu")
    run(_measure)
