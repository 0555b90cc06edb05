"""Exports of networks: safetensors with metadata, ONNX for any height and width, a folder for a model hub."""

import io
import json
import math
import re
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from srlib import __version__
from srlib.core.errors import SRError, failure
from srlib.core.files import atomic_write, write_json
from srlib.core.protocols import protocol
from srlib.data.sets import known_sets
from srlib.nn import models
from srlib.reproduce.scores import file_name, read_scores, whole_set_probe
from srlib.reproduce.store import Trained
from srlib.scoring.evaluation import count_images, means
from srlib.train import probe
from srlib.train.weights import half_precision

LICENCE, TASK = "MIT", "image-to-image"
DESCRIPTION = "srlib.description"  # name of the tensor of a file that names its network
TOLERANCE = 1e-4  # largest difference of ONNX Runtime from torch, of values in 0..1
CHECKED = ((24, 20), (37, 50), (53, 32))  # LR height and width; the graph is made at the first
PLANES = {1: "luma (BT.601, Y/255 of 16..235)", 3: "RGB", None: "luma or RGB"}


def scores(trained: Trained) -> list[dict]:
    """Return the scores of released weights at the network's scale, a dict per set and protocol.

    They are those of the card, and those kept with the release where today's code still scores the same.
    """
    model, of_card = trained.model, trained.card and trained.experiment.scale == trained.model.scale
    rows = [{"dataset": name, **metrics} for name, metrics in trained.card["metrics"].items()] if of_card else []
    sets = {file_name(name): name for name in known_sets()}
    for file in sorted(trained.kept.glob(f"*_x{model.scale}_*.csv")) if trained.kept else ():
        name = re.fullmatch(r"(.+)_x\d+_(\w+)_[0-9a-f]{8}\.csv", file.name)
        if name is None or name[1] not in sets:  # of some images only, or another evaluation
            continue
        by = protocol(name[2])
        kept, _ = read_scores(file, by, whole_set_probe(model, by))
        if kept is not None:
            mean = {metric: round(value, 4) for metric, value in means(kept, by.metrics).items()}
            rows.append({"dataset": sets[name[1]], "protocol": by.name, "images": count_images(kept, by), **mean})
    return rows


def metadata(trained: Trained) -> dict[str, str]:
    """Return what an export says of itself, network, scores and licence among it; raises SRError for what is not trained."""
    experiment = trained.experiment
    if experiment is None:
        raise SRError(f"{trained.name} is not trained and has no weights to export")
    rows = scores(trained)
    return {
        "format": "pt",
        "arch": experiment.model,
        "arguments": json.dumps(experiment.model_args),
        "scale": str(trained.model.scale),
        "input": f"{PLANES[trained.model.channels]} in 0..1, (N, C, H, W)",
        "experiment": f"{experiment.paper}/{experiment.name}",
        "protocol": ", ".join(sorted({row["protocol"] for row in rows})),
        "scores": json.dumps(rows),
        "training": trained.budget,
        "licence": LICENCE,
        "srlib": __version__,
    }


def to_safetensors(trained: Trained, target: Path, precision: str = "fp32", named: bool = False) -> dict[str, str]:
    """Write plain tensors, "fp32" or "fp16", under the names that the network gives them, with `metadata`, and return that.

    named: with one tensor more, the network's name, arguments and scale as JSON, as spandrel reads no metadata.
    """
    described = metadata(trained)
    state = {name: tensor.contiguous() for name, tensor in trained.model.state_dict().items()}
    state = half_precision(state) if precision == "fp16" else state
    if named:
        text = json.dumps({key: described[key] for key in ("arch", "arguments", "scale")})
        state[DESCRIPTION] = torch.tensor(list(text.encode()), dtype=torch.uint8)
    atomic_write(target, safetensors.torch.save(state, described))
    return described


def build(described: dict[str, str], state: dict[str, Tensor], file: str = "the file") -> nn.Module:
    """Return the network of an export, from its `metadata` and its tensors; raises SRError where the two do not fit."""
    try:
        network = models.create(described["arch"], int(described["scale"]), **json.loads(described["arguments"]))
        network.load_state_dict({name: tensor for name, tensor in state.items() if name != DESCRIPTION})
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise failure(f"{file} was not written by this version of srlib", error) from error
    return network.eval()


def is_export(path: Path) -> bool:
    """Whether a file is one by `to_safetensors`; False also for a damaged one."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            return "srlib" in (file.metadata() or {})
    except (safetensors.SafetensorError, OSError):
        return False


def read_export(path: Path) -> nn.Module | None:
    """Return the network of a file by `to_safetensors`, None for one by another program; raises SRError for a damaged file."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            described = file.metadata() or {}
        state = safetensors.torch.load_file(path) if "srlib" in described else {}
    except (safetensors.SafetensorError, OSError) as error:
        raise SRError(f"{path} is not a readable safetensors file ({error})") from error
    return build(described, state, str(path)) if state else None


def to_onnx(trained: Trained, target: Path) -> float:
    """Write an ONNX graph for any batch, height and width of at least 2; return its largest difference from torch.

    Raises SRError without the packages of the extra `export`, for a network that cannot be written so, and where ONNX Runtime
    differs by more than `TOLERANCE` on one of three sizes; then nothing is written.
    """
    onnx, onnxruntime = _needed("onnx", "onnxruntime")
    name, model = f"{trained.name} x{trained.model.scale}", trained.model.cpu().eval()
    if not models.makes_images(model):
        raise SRError(f"{name} makes no images; export a network that does")
    if getattr(model, "selective", False):
        branch = "export idn, the network of its complex branch"
        raise SRError(f"{name} chooses a branch by what each patch shows, which a fixed graph cannot; {branch}")
    axes, buffer, options = {0: "batch", 2: "height", 3: "width"}, io.BytesIO(), onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, torch.get_num_threads()
    names = {"input_names": ["lr"], "output_names": ["sr"], "dynamic_axes": {"lr": axes, "sr": {0: "batch"}}}
    pictures = [_picture(model, *size) for size in CHECKED]
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of values that a trace fixes: other sizes are checked below
            torch.onnx.export(model, (pictures[0],), buffer, dynamo=False, opset_version=18, **names)
            session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
            pairs = [(torch.from_numpy(session.run(None, {"lr": lr.numpy()})[0]), model(lr)) for lr in pictures]
    except Exception as error:  # exporter and runtime have no common base class
        raise failure(f"{name} cannot be written as ONNX", error) from error
    difference = max(float((sr - expected).abs().max()) if sr.shape == expected.shape else math.inf for sr, expected in pairs)
    if not difference <= TOLERANCE:
        raise SRError(f"{name}: ONNX Runtime differs from torch by {difference:.1e}, more than {TOLERANCE:g}; not written")
    graph = onnx.load_from_string(buffer.getvalue())
    onnx.helper.set_model_props(graph, metadata(trained))
    atomic_write(target, graph.SerializeToString())
    return difference


def _picture(model: nn.Module, height: int, width: int) -> Tensor:
    planes = probe.picture(height, width)[..., : model.channels or 3].transpose(2, 0, 1)[None]
    return torch.from_numpy(planes.astype(np.float32)) / 255


def _needed(*packages: str) -> list:
    """Import packages of the extra `export`; SRError where one is missing."""
    try:
        return [import_module(package) for package in packages]
    except ImportError as error:
        raise SRError(f"this export needs {' and '.join(packages)} ({error}): pip install {' '.join(packages)}") from error


def _named(metric: str, row: dict) -> str:
    return f"{metric.upper()} ({'dB, ' if metric == 'psnr' else ''}protocol {row['protocol']})"


def to_hub(trained: Trained, target: Path, precision: str = "fp32") -> Path:
    """Write a folder that `share.hub.SuperResolver.from_pretrained` loads offline, and return its file of weights.

    Its model card names each metric with its protocol.
    """
    (hub,) = _needed("huggingface_hub")
    weights, experiment, scale = target / "model.safetensors", trained.experiment, trained.model.scale
    described = to_safetensors(trained, weights, precision)
    write_json(target / "config.json", {"model": experiment.model, "scale": scale, "model_args": experiment.model_args})
    results = [
        hub.EvalResult(TASK, row["dataset"], f"{row['dataset']} x{scale}", metric, row[metric], metric_name=_named(metric, row))
        for row in json.loads(described["scores"])
        for metric in protocol(row["protocol"]).metrics
        if metric in row
    ]
    facts = {"license": LICENCE.lower(), "library_name": "srlib", "pipeline_tag": TASK, "tags": ["super-resolution"]}
    head = hub.ModelCardData(**facts, model_name=f"{trained.label} x{scale}", eval_results=results or None)
    text = [
        f"---\n{head.to_yaml()}\n---\n\n# {trained.label} x{scale}\n",
        f"`{described['experiment']}` of srlib {__version__}. Input: {described['input']}. {trained.budget}\n",
        "```python\nfrom srlib.share.hub import SuperResolver\n",
        'network = SuperResolver.from_pretrained("path of this folder")\nsr = network(lr)\n```\n',
        *(["| set | metric | value |", "|---|---|---|"] if results else ["No scores are kept with these weights."]),
        *(f"| {result.dataset_name} | {result.metric_name} | {result.metric_value} |" for result in results),
        *(f"\n{protocol(name).describe()}" for name in filter(None, described["protocol"].split(", "))),
    ]
    atomic_write(target / "README.md", "\n".join(text) + "\n")
    return weights
