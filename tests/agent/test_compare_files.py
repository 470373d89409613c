"""Comparing with files, of both formats, whole and broken, at a real stop."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stepdbg.agent.compare import files, safetensors
from stepdbg.agent.work import NotThereError
from stepdbg.commands.compare import read_diff
from stepdbg.errors import RequestError
from stepdbg.inprocess import ThreadSession
from stepdbg.protocol.compare import DiffPage
from stepdbg.protocol.records import StopRecord

from .conftest import drive

package = pytest.importorskip("safetensors.torch")


def net_of(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 1))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script's working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["package", "own"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the safetensors package in the script's environment, and without."""
    if request.param == "own":
        monkeypatch.setitem(sys.modules, "safetensors", None)
    return str(request.param)


def asked(*lines: str) -> list[DiffPage | str]:
    """At the first stop of a script with `net` and `net2`, seeds 1 and 2."""
    answers: list[DiffPage | str] = []

    def train() -> None:
        net, net2 = net_of(1), net_of(2)
        net(torch.zeros(2, 4)), net2

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            for line in lines:
                try:
                    answers.append(await session.request(read_diff(line)))
                except RequestError as error:
                    answers.append(str(error))

    run = drive(train, visit=visit)
    assert run.error is None
    return answers


def compared(*lines: str) -> list[DiffPage]:
    pages = asked(*lines)
    assert all(isinstance(page, DiffPage) for page in pages), pages
    return pages  # type: ignore[return-value]


def holds(page: DiffPage, stored: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> None:
    """Every row's numbers, recomputed."""
    assert {row.name for row in page.rows} == set(stored)
    for row in page.rows:
        a, b = stored[row.name].double(), own[row.other_name or row.name].double()
        assert row.state == ("equal" if torch.equal(a, b) else "differs")
        assert row.norm == pytest.approx(float(a.norm()), rel=1e-6)
        assert row.delta == pytest.approx(float((b - a).norm()), rel=1e-12)


WRAPPED: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("itself", lambda state: state, ""),
    ("state_dict", lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {}}}, " (state_dict)"),
    ("model", lambda state: {"model": state, "lr": 0.1}, " (model)"),
    ("model_state_dict", lambda state: {"model_state_dict": state}, " (model_state_dict)"),
    ("ddp", lambda state: {f"module.{k}": v for k, v in state.items()}, ""),
    ("compiled", lambda state: {"model": {f"_orig_mod.{k}": v for k, v in state.items()}}, " (model)"),
]


@pytest.mark.parametrize(("name", "wrap", "key"), WRAPPED, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_checkpoint_is_read_however_it_holds_the_parameters(
    name: str, wrap: Callable[[dict[str, Any]], Any], key: str, legacy: bool
) -> None:
    state = net_of(2).state_dict()
    torch.save(wrap(state), f"{name}.pt", _use_new_zipfile_serialization=not legacy)
    page, second, back = compared(f"{name}.pt", f"{name}.pt net2", f"net {name}.pt")
    prefix = {"ddp": "module.", "compiled": "_orig_mod."}.get(name, "")
    stored = {f"{prefix}{k}": v for k, v in state.items()}
    own = dict(net_of(1).state_dict())
    for row in page.rows:
        assert row.name in stored
    holds(page, stored, own)
    assert (page.title, page.other_title) == (f"{name}.pt{key}", "net")
    assert page.note == "compared with net; its names fit net2 as well: name it to compare with that"
    assert (second.equal, second.differ, second.note) == (len(state), 0, "compared with net2")
    assert (back.title, back.other_title) == ("net", f"{name}.pt{key}")


def test_one_parameter_several_networks_and_two_files() -> None:
    one, two = net_of(1).state_dict(), net_of(2).state_dict()
    torch.save({"net": one, "net2": two, "epoch": 1}, "both.pt")
    torch.save(two, "two.pt")
    torch.save(one["0.weight"], "alone.pt")
    single, files_, both, weight = compared("net2.0.weight two.pt", "two.pt both.pt", "both.pt", "net.0.bias two.pt")
    (row,) = [row for row in single.rows if not row.state.startswith("only")]
    assert row.state == "equal"
    assert files_.differ + files_.equal == 0 or files_.unpaired == 0
    assert both.title == "both.pt (net)"
    assert [row.state for row in weight.rows if not row.state.startswith("only")] == ["differs"]


def test_what_is_on_one_side_only_or_of_another_shape() -> None:
    state = net_of(1).state_dict()
    state["extra"] = torch.ones(3)
    del state["2.bias"]
    state["0.weight"] = torch.zeros(5, 4)
    torch.save(state, "odd.pt")
    (page,) = compared("odd.pt net")
    states = {row.name: row.state for row in page.rows}
    assert states["extra"] == "only in A"
    assert states["2.bias"] == "only in B"
    assert states["0.weight"] == "other shape"
    (row,) = [row for row in page.rows if row.name == "0.weight"]
    assert (row.shape, row.other_shape, row.delta) == ((5, 4), (6, 4), None)
    assert (page.unpaired, page.unlike) == (2, 1)


def test_half_precision_is_compared_with_what_it_was_made_of() -> None:
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in net_of(1).state_dict().items()}, "half.pt")
    (page,) = compared("half.pt net")
    (row,) = [row for row in page.rows if row.name == "0.weight"]
    assert (row.dtype, row.other_dtype, row.state) == ("float16", "float32", "differs")
    assert row.ratio is not None
    assert 0 < row.ratio < 1e-3


# ── safetensors ─────────────────────────────────────────────────────────────────────────────────────────────

TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int64,
    torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


def test_safetensors_are_compared(reader: str) -> None:
    state = net_of(2).state_dict()
    package.save_file(state, "net.safetensors", metadata={"format": "pt"})
    page, second = compared("net.safetensors", "./net.safetensors net2")
    holds(page, state, dict(net_of(1).state_dict()))
    assert (second.equal, second.differ) == (len(state), 0)


def test_which_of_the_two_reads_them(reader: str) -> None:
    package.save_file({"a": torch.ones(1)}, "one.safetensors")
    (source,) = files.load("one.safetensors")[0].values()
    assert type(source) is {"package": files.Packed, "own": safetensors.Stored}[reader]


def test_a_file_of_the_scripts_own_is_not_taken_for_the_package(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "safetensors.py").write_text("raise SystemExit('the script's own')")
    monkeypatch.syspath_prepend(str(here))
    for name in [name for name in sys.modules if name.partition(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, name)
    (here / "one.safetensors").write_bytes(written({"a": F32}, b"12345678"))
    (source,) = files.load("one.safetensors")[0].values()
    assert type(source) is safetensors.Stored


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_type_is_read_to_the_last_bit(dtype: torch.dtype, reader: str) -> None:
    torch.manual_seed(0)
    made = {
        "a": (torch.randn(3, 5) * 3).to(dtype),
        "none": torch.empty(0, 2).to(dtype),
        "one": torch.ones(()).to(dtype),
    }
    package.save_file(made, "types.safetensors")
    found, _ = files.load("types.safetensors")
    for name, tensor in made.items():
        source = found[name]
        assert tuple(source.shape) == tuple(tensor.shape)
        assert source.dtype is dtype
        read = source if isinstance(source, torch.Tensor) else source.read()
        assert read.dtype is dtype
        assert read.contiguous().view(torch.uint8).equal(tensor.view(torch.uint8)) if tensor.dim() else read == tensor


def written(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "0 bytes are too few"),
        (b"1234567", "7 bytes are too few"),
        (written({}, length=2**63), "a header of 9,223,372,036,854,775,808 bytes does not fit into"),
        (written({}, length=10_000), "a header of 10,000 bytes does not fit"),
        (written(b"{nonsense"), "its header is no JSON"),
        (written(b"\xff\xfe"), "its header is no JSON"),
        (written(b"[" * 50_000), "its header is no JSON"),
        (written([1, 2]), "its header is no table of tensors"),
        (written({"a": 3}), "the entry of a is not complete"),
        (written({"a": {"dtype": "F32"}}), "the entry of a is not complete"),
        (written({"a": {**F32, "dtype": "F12"}}, b"0" * 8), "a is of the unknown type F12"),
        (written({"a": {**F32, "dtype": [1]}}, b"0" * 8), "a is of the unknown type"),
        (written({"a": F32}, b"0" * 7), "a lies outside the file"),
        (written({"a": {**F32, "data_offsets": [-8, 0]}}, b"0" * 8), "a lies outside the file"),
        (written({"a": {**F32, "data_offsets": [8, 0]}}, b"0" * 8), "a lies outside the file"),
        (written({"a": {**F32, "shape": [-2]}}, b"0" * 8), "a lies outside the file"),
        (written({"a": {**F32, "shape": [2.0]}}, b"0" * 8), "a lies outside the file"),
        (written({"a": {**F32, "shape": [True]}}, b"0" * 8), "a lies outside the file"),
        (written({"a": {**F32, "shape": 3}}, b"0" * 8), "the entry of a is not complete"),
        (written({"a": {**F32, "shape": [3]}}, b"0" * 8), "a has 8 bytes where its shape takes 12"),
        (written({"a": {**F32, "shape": [2**40, 2**40]}}, b"0" * 8), "a has 8 bytes where its shape takes"),
        (written({"a": F32, "b": {**F32, "data_offsets": [4, 12]}}, b"0" * 12), "tensors lie over one another"),
        (written({"__metadata__": {"format": "pt"}}), "there are no tensors in it"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused_in_one_line(content: bytes, words: str, here: Path) -> None:
    (here / "bad.safetensors").write_bytes(content)
    (answer,) = asked("bad.safetensors")
    assert isinstance(answer, str)
    assert answer.startswith("bad.safetensors: ")
    assert words in answer
    assert "\n" not in answer


@settings(max_examples=200)
@given(st.binary(max_size=120), st.integers(0, 200))
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory: Any, junk: bytes, at: int) -> None:
    whole = written({"a": F32}, b"12345678")
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    for content in (junk, whole[:at] + junk + whole[at + len(junk) :]):
        path.write_bytes(content)
        try:
            found = safetensors.load(path)
        except NotThereError as error:
            words = str(error)
        else:
            words = ""
            assert all(stored.read().shape == stored.shape for stored in found.values())
        assert "\n" not in words


def test_a_file_that_grows_shorter_meanwhile(here: Path) -> None:
    path = here / "short.safetensors"
    path.write_bytes(written({"a": F32}, b"12345678"))
    (stored,) = safetensors.load(path).values()
    path.write_bytes(b"")
    with pytest.raises(NotThereError, match="has become shorter"):
        stored.read()


# ── what cannot be loaded ───────────────────────────────────────────────────────────────────────────────────


class Opens:
    """What a pickle can do to whoever loads it."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("done",)


def test_objects_are_not_loaded_and_what_they_are_is_said(here: Path) -> None:
    torch.save(net_of(1), "whole.pt")
    torch.save({"model": net_of(1).state_dict(), "config": Opens()}, "evil.pt")
    (here / "raw.pkl").write_bytes(pickle.dumps({"a": Opens()}))
    whole, evil, raw = asked("whole.pt", "evil.pt", "raw.pkl")
    assert whole == (
        "whole.pt: it holds objects other than tensors (torch.nn.modules.container.Sequential), and those are not "
        "loaded; save a state_dict to compare with it"
    )
    assert isinstance(evil, str)
    assert "it holds objects other than tensors (posix.mkdir)" in evil
    assert isinstance(raw, str)
    assert "\n" not in raw
    assert not (here / "done").exists()


def test_what_is_no_file_of_tensors(here: Path) -> None:
    torch.save([1, 2], "list.pt")
    torch.save({"epoch": 1, "lr": 0.1}, "numbers.pt")
    torch.save({"x.y": torch.ones(2), "z": torch.ones(1), "q": torch.ones(1), "r": torch.ones(1)}, "others.pt")
    torch.save({}, "empty.pt")
    (here / "text.pt").write_text("hello")
    (here / "folder.pt").mkdir()
    os.mkfifo(here / "pipe.pt")
    names = ["list", "numbers", "others", "empty", "text", "folder", "pipe", "missing"]
    answers = dict(zip(names, asked(*(f"{name}.pt" for name in names)), strict=True))
    assert answers["list"] == "list.pt: it holds a list, not a state_dict"
    assert answers["numbers"] == "numbers.pt: there is no state_dict in it: it holds epoch, lr"
    assert answers["others"] == "no name in others.pt is one here: it has x.y, z, q, …"
    assert answers["empty"] == "empty.pt: there is no state_dict in it: it holds nothing"
    assert str(answers["text"]).startswith("text.pt: ")
    assert answers["folder"] == "folder.pt: it is no ordinary file"
    assert answers["pipe"] == "pipe.pt: it is no ordinary file"
    assert answers["missing"] == f"missing.pt: No such file or directory in {Path.cwd()}"
    assert not any("\n" in str(answer) for answer in answers.values())


def test_a_file_written_anew_is_read_anew(here: Path) -> None:
    answers: list[DiffPage] = []

    def train() -> None:
        net = net_of(1)
        net(torch.zeros(2, 4))

    async def visit(session: ThreadSession, stop: StopRecord) -> None:
        if stop.number == 1:
            for seed in (1, 1, 2):
                torch.save({**net_of(seed).state_dict(), "n": torch.ones(seed)}, "ckpt.pt")
                answers.append(await session.request(read_diff("ckpt.pt")))

    drive(train, visit=visit)
    assert [page.differ > 0 for page in answers] == [False, False, True]


def test_a_large_file_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAPPED_FROM", 100)
    loaded: list[Any] = []
    original = torch.load

    def load(*args: Any, **kwargs: Any) -> Any:
        loaded.append(kwargs)
        return original(*args, **kwargs)

    monkeypatch.setattr(torch, "load", load)
    state = net_of(2).state_dict()
    torch.save(state, "zip.pt")
    torch.save(state, "legacy.pt", _use_new_zipfile_serialization=False)
    one, other = compared("zip.pt net2", "legacy.pt net2")
    assert [kwargs["mmap"] for kwargs in loaded] == [True, False]
    assert all(kwargs["weights_only"] for kwargs in loaded)
    assert one.equal == other.equal == len(state)
    monkeypatch.setattr(files, "MAX_READ", 100)
    (answer,) = asked("legacy.pt")
    assert isinstance(answer, str)
    assert "in a format that cannot be mapped are too many: at most 100" in answer
