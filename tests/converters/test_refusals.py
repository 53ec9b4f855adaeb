"""What cannot be imported is refused in one line that says what, where, and what can be done."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeinfer.advice import for_command_line
from edgeinfer.converters import from_onnx
from edgeinfer.errors import (
    InputError,
    MissingExtraError,
    ModelError,
    ModelFileError,
    UnsupportedError,
)
from tests.converters.onnx_agreement import model, node

# the inputs and outputs of a body that hands on what it gets
LEAST = [
    [helper.make_empty_tensor_value_info(name) for name in names]
    for names in (("number", "going", "h"), ("going", "h"))
]
OTHERWISE = "not supported: export it as supported operators"


def refusal(error: type[Exception], source, **options) -> str:
    with pytest.raises(error) as caught:
        from_onnx(source, **options)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- operators -------------------------------------------------------------------------------


def test_every_operator_that_is_not_supported_is_named_at_once():
    nodes = [
        node("Det", ["x"], ["a"], name="first"),
        node("Relu", ["a"], ["b"]),
        node("Fancy", ["b"], ["c"], name="second", domain="com.example"),
        node("Det", ["c"], ["d"]),
        node("MaxPool", ["x"], ["e"], kernel_shape=[2, 2, 2, 2], name="third"),
        node("Concat", ["d", "e"], ["y"]),
    ]
    proto = model(nodes, (1, 2, 5, 5, 5, 5))
    proto.opset_import.append(helper.make_opsetid("com.example", 3))
    assert refusal(UnsupportedError, proto) == (
        "4 nodes cannot be imported: "
        f"Det (ai.onnx opset 17) at 'first', 'd': {OTHERWISE}; "
        f"Fancy (com.example opset 3) at 'second': {OTHERWISE}; "
        "MaxPool (ai.onnx opset 17) at 'third': "
        "1-D, 2-D and 3-D are supported, not an input of shape [1, 2, 5, 5, 5, 5]"
    )


@pytest.mark.parametrize(
    "layer, constants, reason",
    [
        (
            node("Resize", ["x", "", "k"], ["y"], mode="quintic"),
            {"k": np.array([1, 1, 2, 2], "f4")},
            "mode 'quintic' is not supported: export it as nearest, linear or cubic",
        ),
        (
            node(
                "Resize",
                ["x", "k", "", "s"],
                ["y"],
                mode="linear",
                extrapolation_value=1.0,
                coordinate_transformation_mode="tf_crop_and_resize",
            ),
            {"k": np.array([0, 0, -1, 0, 1, 1, 1, 1], "f4"), "s": np.array([1, 4, 3, 3])},
            "an extrapolation_value other than 0 is not supported",
        ),
        (
            node(
                "Resize",
                ["x", "k", "", "s"],
                ["y"],
                coordinate_transformation_mode="tf_crop_and_resize",
            ),
            {"k": np.array([0, 0, -1, 0, 1, 1, 1, 1], "f4"), "s": np.array([1, 4, 3, 3])},
            "a roi that leaves the input is not supported for the nearest elements",
        ),
        (
            node("Resize", ["x", "", "k"], ["y"]),
            {"k": np.array([2, 1, 2, 2], "f4")},
            "only depth, height and width can be resized, not axes [0, 2, 3] of 4",
        ),
        (node("Conv", ["x", "x"], ["y"]), {}, "its weights must be constant"),
        (
            node("Conv", ["x", "k"], ["y"], pads=[-1, 0, 0, 0]),
            {"k": np.zeros((1, 4, 1, 1), "f4")},
            "negative pads [-1, 0, 0, 0] are not supported",
        ),
        (
            node("MaxPool", ["x"], ["z", "y"], kernel_shape=[2, 2]),
            {},
            "its second output, Indices, is not supported",
        ),
        (
            node("Cast", ["x"], ["y"], to=TensorProto.FLOAT8E4M3FN),
            {},
            "a run cannot convert float32 to FLOAT8E4M3FN",
        ),
        (node("Relu", ["x"], ["y"], novelty=1), {}, "its attribute 'novelty' is not supported"),
        (
            node("RandomNormalLike", ["x"], ["y"]),
            {},
            "each run would give something else: make its result an input",
        ),
        (
            node("ScatterND", ["x", "k", "x"], ["y"], reduction="add"),
            {"k": np.zeros((1, 4, 6, 5, 4), np.int64)},
            "120 updates of one place are not supported, 16 are",
        ),
        (
            node("ReduceProd", ["x"], ["y"]),
            {},
            "a product of 120 elements is not supported, of 16 it is",
        ),
        (
            node("QuantizeLinear", ["x", "k"], ["y"]),
            {"k": np.ones(4, "f4")},
            "has 4 scales for a value that a run computes: such a value has one",
        ),
    ],
)
def test_an_attribute_that_is_not_supported_is_refused_with_its_node(layer, constants, reason):
    proto = model([layer], constants=constants, opset=19)
    where = f"{layer.op_type} (ai.onnx opset 19) at '{layer.output[0]}'"
    assert refusal(UnsupportedError, proto) == f"1 node cannot be imported: {where}: {reason}"


@pytest.mark.parametrize("opset", [1, 6, 99])
def test_an_opset_that_is_too_old_or_too_new(opset):
    proto = model([node("Relu", ["x"], ["y"])], opset=opset)
    if opset == 1:
        del proto.opset_import[:]  # which is what it means to say nothing
    newest = onnx.defs.onnx_opset_version()
    assert refusal(UnsupportedError, proto) == (
        f"opsets 7 to {newest} can be imported, not {opset}: "
        "convert the model with onnx.version_converter, or update the onnx package"
    )


# ---- inputs ----------------------------------------------------------------------------------


def test_an_open_axis_is_named_with_the_way_to_close_it():
    proto = model([node("Relu", ["x"], ["y"])], ["N", 3, "height", None])
    assert refusal(InputError, proto) == (
        "input 'x' has axis 2 open in [N, 3, height, ?]: "
        "give its whole shape, input_shapes={'x': [1, 3, ..., ...]}"
    )


def test_open_axes_of_several_inputs_are_named_at_once():
    inputs = {"x": ["N", "time"], "known": [1, 4], "state": [2, "N", 128], "s": [2, None]}
    nodes = [node("Relu", [name], [f"{name}_y"]) for name in inputs]
    proto = model(nodes, inputs=inputs, outputs=[f"{name}_y" for name in inputs])
    assert refusal(InputError, proto) == (
        "inputs 'x', 's' have open axes: give their whole shapes, "
        "input_shapes={'x': [1, ...], 's': [2, ...]}"
    )


def test_input_shapes_must_fit_the_model():
    proto = model([node("Relu", ["x"], ["y"])], ["N", 3])
    assert refusal(InputError, proto, input_shapes={"z": [1, 3]}) == (
        "a shape is given for 'z', which is no input of the model"
    )
    assert refusal(InputError, proto, input_shapes={"x": [1, 4]}) == (
        "[1, 4] is given as the shape of input 'x', which the model declares as [N, 3]"
    )
    assert refusal(InputError, proto, input_shapes={"x": "1x3"}) == (
        "the shape of input 'x' must be whole numbers, not '1x3'"
    )
    assert refusal(InputError, proto, batch=0) == "batch must be a positive integer, not 0"


def test_a_file_that_is_not_there(tmp_path):
    path = tmp_path / "missing.onnx"
    assert refusal(InputError, path) == f"there is no file {path}"


# ---- contradictions --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_named(value):
    weights = np.ones((4, 3), "f4")
    weights[2, 1] = value
    proto = model([node("MatMul", ["x", "w"], ["y"])], (2, 4), {"w": weights})
    assert refusal(ModelError, proto) == (
        "MatMul 'y': initializer 'w' holds NaN or infinite values"
    )


def test_shapes_that_do_not_fit_name_the_node():
    proto = model([node("MatMul", ["x", "w"], ["y"], name="dense")], (2, 5), {"w": np.ones((4, 3))})
    assert refusal(ModelError, proto) == (
        "MatMul 'dense': weights [3, 4] do not fit x of shape [2, 5]"
    )


def test_a_bound_that_is_no_number_names_the_node():
    proto = model([node("Clip", ["x", "k"], ["y"])], constants={"k": np.zeros(5, "f4")})
    assert refusal(ModelError, proto) == ("Clip 'y': its min must be one number, not of shape [5]")


@pytest.mark.parametrize(
    "layer, message",
    [
        (node("CumSum", ["x", "n"], ["y"]), "CumSum 'y': its axis must be one integer"),
        (node("Trilu", ["x", "n"], ["y"]), "Trilu 'y': its k must be one integer"),
        (
            node("Loop", ["n", "", "x"], ["y"], body=helper.make_graph([], "b", *LEAST)),
            "Loop 'y': its trip count must be one integer",
        ),
        (
            node("Resize", ["x", "", "", "sizes"], ["y"]),
            "Resize 'y': its sizes must be integers, not float32",
        ),
    ],
)
@pytest.mark.parametrize("number", [np.inf, np.nan, 0.5])
def test_what_is_no_integer_is_no_count(layer, message, number):
    sizes = np.array([1, 2, 3, number])
    proto = model([layer], (1, 2, 3, 3), {"n": np.float32(number), "sizes": sizes})
    assert refusal(ModelError, proto) == message


def test_a_policy_that_resize_has_not():
    layer = node("Resize", ["x", "", "", "sizes"], ["y"], keep_aspect_ratio_policy="odd")
    proto = model([layer], (1, 2, 3, 3), {"sizes": np.array([1, 2, 6, 9])}, opset=18)
    assert refusal(ModelError, proto) == "Resize 'y': there is no keep_aspect_ratio_policy 'odd'"


@pytest.mark.parametrize("depth", [np.inf, np.nan, 0.5])
def test_a_depth_is_an_integer(depth):
    layer = node("OneHot", ["i", "depth", "values"], ["y"])
    proto = model([layer], constants={"depth": np.float32(depth), "values": np.array([0.0, 1.0])})
    del proto.graph.input[:]
    proto.graph.input.append(helper.make_tensor_value_info("i", TensorProto.INT64, [2]))
    assert refusal(ModelError, proto) == "OneHot 'y': its depth must be one integer"


def test_a_window_larger_than_any_memory_is_refused_before_it_is_made():
    for layer in (
        node("LpPool", ["x"], ["y"], kernel_shape=[50000, 50000]),
        node("AveragePool", ["x"], ["y"], kernel_shape=[50000, 50000], dilations=[2, 2]),
    ):
        assert refusal(ModelError, model([layer], (1, 3, 4, 4), opset=19)) == (
            f"{layer.op_type} 'y': the constants of the model have more than 67108864 elements"
        )


def test_a_cycle():
    nodes = [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]
    message = refusal(ModelFileError, model(nodes))
    assert message.startswith("the ONNX graph is malformed or cyclic: ")


def test_a_value_that_nothing_computes():
    proto = model([node("Add", ["x", "ghost"], ["y"])])
    assert refusal(ModelFileError, proto) == "Add 'y': nothing computes the value 'ghost'"


@pytest.mark.parametrize(
    "layer, numbers",
    [
        (node("Expand", ["c", "n"], ["k"]), [2**40]),
        (node("ConstantOfShape", ["n"], ["k"]), [2**20, 2**20]),
        (node("Tile", ["c", "n"], ["k"]), [2**50]),
    ],
)
def test_constants_too_large_for_any_model_are_refused_before_they_are_made(layer, numbers):
    constants = {"c": np.ones(1, "f4"), "n": np.array(numbers, np.int64)}
    proto = model([layer, node("Add", ["x", "k"], ["y"])], (1,), constants)
    assert refusal(ModelError, proto) == (
        f"{layer.op_type} 'k': the constants of the model have more than 67108864 elements"
    )


def test_an_input_larger_than_any_memory():
    proto = model([node("Relu", ["x"], ["y"])], (2**20, 2**20))
    message = refusal(ModelError, proto)
    assert message.startswith("input 'x': a value of shape [1048576, 1048576] has ")


def function(name: str, *calls: str) -> onnx.FunctionProto:
    values = ["a", *(f"v{i}" for i in range(len(calls) - 1)), "b"]
    nodes = [
        node(call, [values[i]], [values[i + 1]], domain="" if call == "Relu" else "f")
        for i, call in enumerate(calls)
    ]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    return helper.make_function("f", name, ["a"], ["b"], nodes, imports)


def test_functions_that_multiply_beyond_any_model_are_refused_before_they_are_expanded():
    functions = [function("F0", "Relu", "Relu")]
    functions += [function(f"F{i}", *[f"F{i - 1}"] * 10) for i in range(1, 12)]
    proto = model([node("F11", ["x"], ["y"], domain="f")], functions=functions)
    assert refusal(ModelFileError, proto) == "the model expands to more than 20000 nodes"


def test_functions_that_call_themselves():
    functions = [function("F", "G"), function("G", "F")]
    proto = model([node("F", ["x"], ["y"], domain="f")], functions=functions)
    assert re.fullmatch("function '[FG]' calls itself", refusal(ModelFileError, proto))


def nested(depth: int, width: int) -> onnx.ModelProto:
    """If in If in If."""
    graph = helper.make_graph([node("Relu", ["x"], ["y0"])], "g", [], [])
    for level in range(1, depth):
        branches = dict(zip(("then_branch", "else_branch"), [graph] * width, strict=False))
        graph = helper.make_graph([node("If", ["x"], [f"y{level}"], **branches)], "g", [], [])
    return model([node("If", ["x"], ["y"], then_branch=graph, else_branch=graph)])


def test_deep_nesting_is_no_stack_overflow():
    message = refusal(UnsupportedError, nested(30, 1))
    assert message.endswith("a condition that a run computes is not supported")


def test_subgraphs_beyond_any_model_are_refused():
    assert refusal(ModelFileError, nested(16, 2)) == "the model expands to more than 20000 nodes"


# ---- external data ---------------------------------------------------------------------------


def external(location: str, **entries: int) -> onnx.ModelProto:
    proto = model([node("Add", ["x", "w"], ["y"])], (2, 3), {"w": np.ones((2, 3), "f4")})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return proto


def saved(folder: Path, proto: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_beside_the_model_is_read(tmp_path):
    weights = np.arange(8, dtype="f4")
    (tmp_path / "sub").mkdir()
    weights.tofile(tmp_path / "sub" / "weights.bin")
    path = saved(tmp_path, external("sub/weights.bin", offset=8, length=24))
    graph = from_onnx(path)
    np.testing.assert_array_equal(graph.constants["w"], weights[2:].reshape(2, 3))


def test_external_data_outside_of_the_folder_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    np.ones(6, "f4").tofile(secret)
    for location in (
        "../secret.bin",
        str(secret),
        "sub/../../secret.bin",
        "..\\secret.bin",
        "C:\\secret.bin",
        "",
        "secret\0.bin",
    ):
        assert refusal(ModelFileError, saved(folder, external(location))) == (
            f"external data of initializer 'w' lies outside of the model's folder: {location!r}"
        )


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_external_data_behind_a_link_is_refused(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    np.ones(6, "f4").tofile(tmp_path / "secret.bin")
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "out").symlink_to(tmp_path)
    for location in ("link.bin", "out/secret.bin"):
        assert refusal(ModelFileError, saved(folder, external(location))) == (
            f"external data of initializer 'w' lies behind a link: {location!r}; copy the files "
            "into one folder, or trust the model and give allow_links=True"
        )
        graph = from_onnx(saved(folder, external(location)), allow_links=True)
        np.testing.assert_array_equal(graph.constants["w"], np.ones((2, 3)))


def test_external_data_that_is_missing_or_too_short(tmp_path):
    assert refusal(ModelFileError, saved(tmp_path, external("weights.bin"))) == (
        "external data of initializer 'w' is missing: 'weights.bin'"
    )
    np.ones(6, "f4").tofile(tmp_path / "weights.bin")
    path = saved(tmp_path, external("weights.bin", offset=8, length=24))
    assert refusal(ModelFileError, path) == (
        "external data of initializer 'w': bytes 8 to 32 of a file of 24"
    )
    path = saved(tmp_path, external("weights.bin", offset=0, length=20))
    assert refusal(ModelFileError, path) == (
        "external data of initializer 'w' has 20 bytes, but shape [2, 3] takes 24"
    )


def test_external_data_is_held_against_its_shape_before_it_is_read(tmp_path):
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(2**40)  # a hole of a terabyte
    path = saved(tmp_path, external("weights.bin", offset=0, length=2**40))
    assert refusal(ModelFileError, path) == (
        "external data of initializer 'w' has 1099511627776 bytes, but shape [2, 3] takes 24"
    )
    # without a length it has what its shape takes
    graph = from_onnx(saved(tmp_path, external("weights.bin", offset=2**39)))
    np.testing.assert_array_equal(graph.nodes[0].inputs, ["x", "w"])


def test_external_data_needs_a_path():
    assert refusal(ModelFileError, external("weights.bin").SerializeToString()) == (
        "external data of initializer 'w' needs the model's folder: give from_onnx the path"
    )


# ---- what other tools write --------------------------------------------------------------------


def test_a_classifier_of_scikit_learn_is_refused_by_its_operators():
    nodes = [
        node("SVMClassifier", ["x"], ["label", "p"], name="c", domain="ai.onnx.ml"),
        node("ZipMap", ["p"], ["y"], name="z", domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
    ]
    proto = model(nodes, ["N", 4], outputs=("label", "y"))
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    mapped = proto.graph.output[1].type.sequence_type.elem_type.map_type
    mapped.key_type = TensorProto.INT64
    mapped.value_type.tensor_type.elem_type = TensorProto.FLOAT
    reason = "of classical models, linear ones, trees and networks are imported"
    assert refusal(UnsupportedError, proto) == (
        f"1 node cannot be imported: SVMClassifier (ai.onnx.ml opset 3) at 'c': {reason}"
    )


def test_a_sparse_initializer_is_named():
    proto = model([node("MatMul", ["x", "w"], ["y"])], (1, 2))
    proto.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]),
            helper.make_tensor("places", TensorProto.INT64, [1], [3]),
            [2, 2],
        )
    )
    assert refusal(UnsupportedError, proto) == (
        "initializer 'w' is sparse: store it as a dense tensor"
    )


def test_a_sparse_attribute_is_named():
    values = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    places = helper.make_tensor("i", TensorProto.INT64, [1], [3])
    sparse = helper.make_sparse_tensor(values, places, [4, 3, 6, 5])
    nodes = [node("Constant", [], ["k"], sparse_value=sparse), node("Add", ["x", "k"], ["y"])]
    assert refusal(UnsupportedError, model(nodes)) == (
        "Constant 'k' is sparse: store a dense tensor"
    )


@pytest.mark.parametrize(
    "operator, domain",
    [
        ("DynamicQuantizeLSTM", "com.microsoft"),
        ("QLinearReduceSum", "com.microsoft"),
    ],
)
def test_what_of_quantized_models_is_not_taken_is_told_to_import_the_float_one(operator, domain):
    proto = model([node(operator, ["x"], ["y"], domain=domain)])
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    where = f"{operator} ({domain} opset 1) at 'y'"
    assert refusal(UnsupportedError, proto) == (
        f"1 node cannot be imported: {where}: import the float model: edgeinfer quantizes it itself"
    )


def test_the_files_of_a_user_are_told_apart(tmp_path):
    ours, other = tmp_path / "m.eqm", tmp_path / "m.onnx"
    ours.touch()
    assert refusal(InputError, ours) == f"{ours} is an .eqm file, which edgeinfer.load reads"
    other.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    assert refusal(ModelFileError, other) == (
        f"{other} is a pointer of Git LFS, not the file that it stands for: git lfs pull brings it"
    )
    other.write_bytes(b"")
    assert refusal(ModelFileError, other) == f"{other} holds no ONNX graph"


@pytest.mark.parametrize("field", [b"\x12", b"\x1a"], ids=["producer", "its version"])
def test_a_producer_that_is_no_text_is_refused(field):
    content = model([node("Relu", ["x"], ["y"])]).SerializeToString()
    assert refusal(ModelFileError, content + field + b"\x02\xff\xfe") == (
        "a name is not text: b'\\xff\\xfe'"
    )


def test_a_graph_whose_name_is_no_text_is_refused():
    proto = model([node("Relu", ["x"], ["y"])])
    proto.graph.name = "graph of mine"
    content = proto.SerializeToString().replace(b"graph of mine", b"graph \xff\xfe mine")
    assert refusal(ModelFileError, content) == "a name is not text: b'graph \\xff\\xfe mine'"


def test_many_refused_nodes_are_grouped_by_operator_and_the_model_can_be_cut_before():
    nodes = [node("Relu", ["x"], ["r"]), node("Neg", ["r"], ["other"])]
    nodes += [node("Det", ["r"], [f"h{i}"], name=f"n{i}") for i in range(30)]
    nodes.append(node("Sum", [f"h{i}" for i in range(30)], ["y"]))
    proto = model(nodes, (1, 4), outputs=("y", "other"))
    expected = (
        "30 nodes cannot be imported: Det (ai.onnx opset 17) at 'n0', 'n1', 'n2', 'n3', 'n4', "
        f"'n5', 'n6', 'n7' and 22 more: {OTHERWISE}; "
        "the model can be cut before with "
    )
    assert refusal(UnsupportedError, proto) == expected + "outputs=['r', 'other']"
    with for_command_line():
        assert refusal(UnsupportedError, proto) == expected + "--output r --output other"
    assert from_onnx(proto, outputs=["r", "other"]).outputs == ("r", "other")


def test_what_an_operator_is_made_of_is_refused_with_its_own_name():
    attention = node("Attention", ["x", "x", "x"], ["y"], q_num_heads=3, kv_num_heads=3)
    message = refusal(ModelError, model([attention], (1, 5, 8), opset=23))
    assert message == (
        "Attention 'y': Reshape, of which it is made: "
        "a value of shape [1, 5, 8] does not fill shape [1, 5, 3, -1]"
    )


def test_what_a_definition_would_stumble_on_is_refused_before():
    attention = node("Attention", ["x", "x", "x"], ["y"], name="attend", q_num_heads=2)
    assert refusal(ModelError, model([attention], (1, 5, 8), opset=23)) == (
        "Attention 'attend': attribute 'kv_num_heads' is missing, which inputs of 3 axes need"
    )
    rotary = node("RotaryEmbedding", ["x", "cache", "cache"], ["y"], name="rotate")
    constants = {"cache": np.ones((5, 4), np.float32)}
    assert refusal(ModelError, model([rotary], (1, 2, 5, 8), constants, opset=23)) == (
        "RotaryEmbedding 'rotate': cos_cache must have 3 axes without position_ids, not 2"
    )


# ---- packages --------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["onnx", "onnx_ir"])
def test_a_missing_package_names_its_extra(monkeypatch, package):
    proto = model([node("Relu", ["x"], ["y"])]).SerializeToString()
    monkeypatch.setitem(sys.modules, package, None)
    assert refusal(MissingExtraError, proto) == (
        f"{package} is not installed; install it with: pip install 'edgeinfer[convert]'"
    )
