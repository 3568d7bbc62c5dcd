"""A rank's part of the reference as a file: it comes back bit for bit, or it is refused."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from copris_core.verl_adapter import reference_io
from copris_core.verl_adapter.reference_io import load_shards, save_shards, shard_name

pytestmark = pytest.mark.verl


def _shards(fill: float = 1.5) -> dict[str, torch.Tensor]:
    """All that a rank may hold: several dtypes, an empty shard, a number, part of a longer one."""
    odd = torch.tensor([fill, float("nan"), -0.0, float("inf"), 1e-40])
    return {
        "wide.weight": odd,
        "rounded": odd.to(torch.bfloat16),
        "empty": torch.zeros(0, 7),
        "steps": torch.tensor(int(fill * 2)),
        "mask": torch.tensor([True, False]),
        "padded": torch.arange(12, dtype=torch.float32).view(4, 3)[:3] * fill,
        "columns": (torch.arange(6.0).view(2, 3) * fill).t(),
    }


def _bits(shards: dict[str, torch.Tensor]) -> dict[str, tuple]:
    return {
        name: (each.dtype, each.shape, each.contiguous().reshape(-1).view(torch.uint8).tolist())
        for name, each in shards.items()
    }


def _saved(folder: Path, rank: int = 1, world_size: int = 2) -> Path:
    save_shards(folder, _shards(), rank=rank, world_size=world_size)
    return folder / shard_name(rank, world_size)


def _refused(folder: Path, match: str, shards: dict[str, torch.Tensor] | None = None) -> None:
    shards = _shards(fill=9.0) if shards is None else shards
    before = _bits(shards)
    with pytest.raises(ValueError, match=match) as refusal:
        load_shards(folder, shards, rank=1, world_size=2)
    assert "\n" not in str(refusal.value)
    assert _bits(shards) == before


def test_every_bit_dtype_and_shape_comes_back(tmp_path: Path) -> None:
    _saved(tmp_path / "step" / "reference")
    shards = _shards(fill=9.0)
    places = {name: each.data_ptr() for name, each in shards.items()}
    load_shards(tmp_path / "step" / "reference", shards, rank=1, world_size=2)
    assert _bits(shards) == _bits(_shards())
    assert {name: each.data_ptr() for name, each in shards.items()} == places


def test_a_file_is_named_by_rank_and_number_of_ranks(tmp_path: Path) -> None:
    assert _saved(tmp_path).name == "reference_world_size_2_rank_1.safetensors"
    assert [path.name for path in tmp_path.iterdir()] == [shard_name(1, 2)]


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    _saved(tmp_path, rank=0)
    _refused(tmp_path, "rank_1.safetensors is missing: remove this checkpoint")


def test_another_number_of_ranks_is_refused_by_name(tmp_path: Path) -> None:
    _saved(tmp_path, rank=1, world_size=4)
    _saved(tmp_path, rank=0, world_size=12)
    _refused(tmp_path, r"saved by 4 or 12 ranks and this run has 2: .*trainer\.nnodes")


@pytest.mark.parametrize("place", [2, 60, -1, -200])
def test_a_changed_byte_is_refused(tmp_path: Path, place: int) -> None:
    path = _saved(tmp_path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    _refused(tmp_path, "remove this checkpoint|is not of this reference policy")


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_cut_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = _saved(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    _refused(tmp_path, r"cannot be read \(.*\): remove this checkpoint")


@pytest.mark.parametrize(
    ("name", "shard", "match"),
    [
        ("empty", torch.zeros(1, 7), r"empty is \(0, 7\) of torch.float32 there and \(1, 7\)"),
        ("steps", torch.tensor(3.0), "steps is .* of torch.int64 there and .* of torch.float32"),
        ("added", torch.zeros(1), "added is absent there"),
        ("mask", None, "mask is .* there and absent here"),
    ],
)
def test_another_policy_is_refused(
    tmp_path: Path, name: str, shard: torch.Tensor | None, match: str
) -> None:
    _saved(tmp_path)
    others = {**_shards(fill=9.0), name: shard}
    _refused(tmp_path, match, {key: each for key, each in others.items() if each is not None})


@pytest.mark.parametrize("error", [OSError("disk full"), SafetensorError("disk full")])
def test_a_save_that_fails_leaves_the_file_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    before = _saved(tmp_path).read_bytes()

    def fails(content: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(reference_io, "save_file", fails)
    with pytest.raises(OSError, match="disk full"):
        save_shards(tmp_path, _shards(fill=9.0), rank=1, world_size=2)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]
