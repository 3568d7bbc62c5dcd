"""vLLM's counters, scraped some times under changing load, tell what a step costs."""

from pathlib import Path

import pytest

from copris_core.simulator.engine_file import to_yaml
from copris_core.simulator.vllm_metrics import calibrate_scrapes, read_scrapes, spans_of

STEP_S, RESPONSE_S, TOKEN_S = 0.010, 0.0002, 0.00004
SPAN_S = 10.0


def _text(
    running: list[int], *, engines: int = 1, prefill: tuple[int, ...] = (50, 400), skip: str = ""
) -> str:
    """Scrapes 10 s apart of engines that were busy all the time, ``running`` in each batch."""
    generated = prompts = latency_s = tokens = 0.0
    lines = []
    for number, batch in enumerate(running):
        lines += [f"# scrape {1_763_712_000 + number * SPAN_S}", "# HELP vllm:x y"]
        for engine in range(engines):
            label = f'{{engine="{engine}",model_name="m"}}'
            samples = {
                "vllm:generation_tokens_total": generated,
                "vllm:prompt_tokens_total": prompts,
                "vllm:num_requests_running": batch,
                "vllm:inter_token_latency_seconds_sum": latency_s,
                "vllm:inter_token_latency_seconds_count": tokens,
                "vllm:num_preemptions_total": 2.0 * number,
            }
            lines += [f"{key}{label} {value}" for key, value in samples.items() if key != skip]
            cache = f'{{block_size="16",engine="{engine}",num_gpu_blocks="1000"}}'
            lines += [f"vllm:cache_config_info{cache} 1.0"]
        if number + 1 < len(running):
            mean = (batch + running[number + 1]) / 2
            per_step = prefill[number % len(prefill)]
            step_s = STEP_S + RESPONSE_S * mean + TOKEN_S * per_step
            steps = SPAN_S / step_s
            generated, prompts = generated + steps * mean, prompts + steps * per_step
            tokens, latency_s = tokens + steps * mean, latency_s + steps * mean * step_s
    return "\n".join(lines) + "\n"


def _scraped(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "scrapes.txt"
    path.write_text(text)
    return path


LOAD = [8, 32, 64, 64, 128, 16, 100]


@pytest.mark.parametrize("engines", [1, 2])
def test_the_costs_that_made_the_counters_are_found(tmp_path: Path, engines: int) -> None:
    file = calibrate_scrapes(_scraped(tmp_path, _text(LOAD, engines=engines)))

    engine = file.engine
    assert engine.step_s == pytest.approx(STEP_S, rel=0.01)
    assert engine.response_s == pytest.approx(RESPONSE_S, rel=0.01)
    assert engine.prefill_token_s == pytest.approx(TOKEN_S, rel=0.01)
    assert (engine.kv_tokens, engine.replicas) == (16_000, engines)


def test_what_the_metrics_do_not_tell_is_said(tmp_path: Path) -> None:
    text = to_yaml(calibrate_scrapes(_scraped(tmp_path, _text(LOAD))))
    assert "update_token_s: 0.0" in text
    assert "not in vLLM's metrics: fill it in" in text
    assert "7 scrapes of vLLM's /metrics over 60 s, 12 preemptions" in text


def test_a_span_in_which_nothing_was_sampled_is_left_out(tmp_path: Path) -> None:
    text = _text(LOAD)
    header = "# scrape 1763712070.0\n"
    last = text[text.rindex("# scrape") :].partition("\n")[2]
    idle = _scraped(tmp_path, text + header + last)
    assert len(read_scrapes(idle)) == len(LOAD) + 1
    assert len(spans_of(read_scrapes(idle))) == len(LOAD) - 1


def test_an_engine_that_was_started_anew_is_left_out(tmp_path: Path) -> None:
    later = _text(LOAD).replace("# scrape 17637", "# scrape 17638")
    both = _scraped(tmp_path, _text(LOAD) + later)
    assert len(spans_of(read_scrapes(both))) == 2 * (len(LOAD) - 1)


WRONG = [
    ("", r"has no line '# scrape"),
    (_text([8, 16, 32]), r"2 usable differences .* 3 are needed"),
    (_text([64] * 6), r"64 requests ran all the time"),
    (_text(LOAD, skip="vllm:num_requests_running"), r"lacks vllm:num_requests_running"),
    (_text(LOAD).replace("num_gpu_blocks", "blocks"), r"lacks vllm:cache_config_info"),
    (_text(LOAD) + _text(LOAD), r"does not come after"),
]


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_scrapes_that_say_too_little_are_told_in_one_line(
    tmp_path: Path, text: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        calibrate_scrapes(_scraped(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no scrapes at"):
        calibrate_scrapes(tmp_path / "nothing.txt")
