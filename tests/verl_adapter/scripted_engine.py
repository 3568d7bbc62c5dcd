"""An engine that answers by script: what a response says follows from its seed alone."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

from copris_core.verl_adapter.errors import TrainingError
from copris_core.verl_adapter.eval_engine import Response

ANSWER_TOKENS = 3


class ScriptedEngine:
    """Finishes its requests latest first, one an iteration; counts what it was asked."""

    kv_tokens = 1 << 20

    def __init__(self, *, dies_after: int | None = None, stop: BaseException | None = None) -> None:
        self.started: list[str] = []
        self.seeds: dict[str, int] = {}
        self.limits: dict[str, int] = {}
        self.most_in_flight = 0
        self.closed = 0
        self._running: list[str] = []
        self._dies_after = dies_after
        self._stop = stop

    def factory(self) -> Callable[..., "ScriptedEngine"]:
        """In the place of the class."""

        def build(*_: object, max_model_len: int, **__: object) -> "ScriptedEngine":
            self.max_model_len = max_model_len
            return self

        return build

    def start(self, request_id: str, tokens: Sequence[int], *, max_tokens: int, seed: int) -> None:
        assert len(tokens) + max_tokens <= self.max_model_len
        self.started.append(request_id)
        self.seeds[request_id], self.limits[request_id] = seed, max_tokens
        self._running.append(request_id)
        self.most_in_flight = max(self.most_in_flight, len(self._running))

    def step(self) -> list[Response]:
        assert self._running, "a step without a request would wait for ever"
        if self._dies_after is not None:
            if not self._dies_after:
                raise self._stop or TrainingError("the engine died (scripted)")
            self._dies_after -= 1
        request_id = self._running.pop()
        number = self.seeds[request_id] % 90 + 10
        finish = "length" if number % 7 == 0 else "stop"
        return [Response(request_id=request_id, tokens=[number] * ANSWER_TOKENS, finish=finish)]

    def close(self) -> None:
        self.closed += 1


class NumberTokens:
    """A tokenizer that writes a token as a marked number."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def prompt(self, row: SimpleNamespace) -> tuple[int, ...]:
        return (1, 2, 3)

    def text(self, tokens: Sequence[int]) -> str:
        return f"I guess.\n#### {tokens[0]}"
