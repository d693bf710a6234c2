//! Tiny networks with the inputs and outputs of a card, written as ONNX by the tests themselves: nothing is learnt in them.
//!
//! Each output is what the test wants it to be; every input is read, and adds nothing.

use std::path::Path;

use crate::vision::card::{Card, Element, TensorSpec};
use crate::vision::catalog::{Catalog, Model, Weights};

/// What an output holds.
pub enum Gives {
    /// These numbers, as many as the output has elements.
    Values(Vec<f32>),
    /// This number everywhere.
    Everywhere(f32),
    /// Input of this name, of the same shape.
    Input(&'static str),
    /// For each window of the first input (planar), as many pixels to a side, the sum of its products with each pattern (3 · size²), and a
    /// number added; the windows a step apart (and one over the end), or one only.
    Patterns {
        /// Side of a window.
        size: usize,
        /// From one to the next; none: there is one window, and no plane of them.
        stride: Option<usize>,
        /// For each channel that comes out.
        patterns: Vec<(Vec<f32>, f32)>,
    },
    /// Input of this name (planar), each pixel the mean of so many around it either way, then repeated so many times either way.
    Larger(&'static str, u64, usize),
}

/// A dimension that a card leaves free: an output whose first one is gives so many rows as the first input has.
const FREE: usize = 1;

/// Writes a network for card `id` into `folder` under the name of the card's file; gives the model. `gives` tells what each output
/// holds, in the order of the card. `last`: side and elements of the last initializer.
pub fn write(catalog: &Catalog, id: &str, folder: &Path, gives: &[Gives], last: Option<(usize, &[f32])>) -> Model {
    let card = catalog.card(id).unwrap_or_else(|| panic!("there is a card {id}")).clone();
    let path = folder.join(&card.file);
    std::fs::write(&path, network(&card, gives, last)).expect("the folder can be written to");
    Model { card, weights: Weights::File(path) }
}

/// The network's file.
pub fn network(card: &Card, gives: &[Gives], last: Option<(usize, &[f32])>) -> Vec<u8> {
    assert_eq!(gives.len(), card.outputs.len(), "{}: every output holds something", card.id);
    let mut graph = Message::default();
    let mut initializers = Message::default();
    let mut silence = String::new();
    for (number, input) in card.inputs.iter().enumerate() {
        let (float, mean, nothing) = (format!("float{number}"), format!("mean{number}"), format!("nothing{number}"));
        graph.message(1, &node("Cast", &[&input.name], &float, &[int("to", 1)]));
        graph.message(1, &node("ReduceMean", &[&float], &mean, &[int("keepdims", 0)]));
        graph.message(1, &node("Mul", &[&mean, "zero"], &nothing, &[]));
        let sum = format!("sum{number}");
        match silence.is_empty() {
            true => silence = nothing,
            false => {
                graph.message(1, &node("Add", &[&silence, &nothing], &sum, &[]));
                silence = sum;
            }
        }
    }
    initializers.message(5, &tensor("zero", &[], &[0.0]));
    for (number, (output, gives)) in card.outputs.iter().zip(gives).enumerate() {
        let sizes = sizes(output);
        let count = sizes.iter().product();
        let (held, spoken) = (format!("held{number}"), format!("spoken{number}"));
        match gives {
            Gives::Input(name) => graph.message(1, &node("Cast", &[name], &held, &[int("to", 1)])),
            Gives::Larger(name, size, factor) => {
                let (own, mean, scales) = (format!("own{number}"), format!("of{number}"), format!("scales{number}"));
                graph.message(1, &node("Cast", &[name], &own, &[int("to", 1)]));
                let pool = [ints("kernel_shape", &[*size; 2]), ints("pads", &[size / 2; 4])];
                graph.message(1, &node("AveragePool", &[&own], &mean, &pool));
                initializers.message(5, &tensor(&scales, &[4], &[1.0, 1.0, *factor as f32, *factor as f32]));
                graph.message(1, &node("Resize", &[&mean, "", &scales], &held, &[text("mode", "nearest")]));
            }
            Gives::Patterns { size, stride, patterns } => {
                let (own, weights, biases) = (format!("own{number}"), format!("of{number}"), format!("bias{number}"));
                let summed = format!("summed{number}");
                graph.message(1, &node("Cast", &[&card.inputs[0].name], &own, &[int("to", 1)]));
                let all: Vec<f32> = patterns.iter().flat_map(|(pattern, _)| pattern.iter().copied()).collect();
                let added: Vec<f32> = patterns.iter().map(|(_, bias)| *bias).collect();
                initializers.message(5, &tensor(&weights, &[patterns.len(), 3, *size, *size], &all));
                initializers.message(5, &tensor(&biases, &[patterns.len()], &added));
                let over = u64::from(stride.is_some());
                let convolution = [
                    ints("kernel_shape", &[*size as u64; 2]),
                    ints("strides", &[stride.unwrap_or(1) as u64; 2]),
                    ints("pads", &[0, 0, over, over]),
                ];
                let result = if stride.is_some() { &held } else { &summed };
                graph.message(1, &node("Conv", &[&own, &weights, &biases], result, &convolution));
                if stride.is_none() {
                    graph.message(1, &node("Flatten", &[&summed], &held, &[int("axis", 1)]));
                }
            }
            Gives::Values(values) => {
                assert_eq!(values.len(), count, "{}: {} has so many elements", card.id, output.name);
                initializers.message(5, &tensor(&held, &sizes, values));
            }
            Gives::Everywhere(value) => initializers.message(5, &tensor(&held, &sizes, &vec![*value; count])),
        }
        let mut quiet = silence.clone();
        if output.shape.len() > 1 && output.shape[0].fixed().is_none() && card.inputs[0].shape[0].fixed().is_none() {
            let (rows, none, shape) = (format!("rows{number}"), format!("none{number}"), format!("shape{number}"));
            let axes: Vec<u64> = (1..card.inputs[0].shape.len() as u64).collect();
            let rest = ints("axes", &axes);
            graph.message(1, &node("ReduceMean", &["float0"], &rows, &[rest, int("keepdims", 0)]));
            graph.message(1, &node("Mul", &[&rows, "zero"], &none, &[]));
            quiet = format!("quiet{number}");
            graph.message(1, &node("Reshape", &[&none, &shape], &quiet, &[]));
            let column: Vec<i64> = (0..output.shape.len()).map(|axis| if axis == 0 { -1 } else { 1 }).collect();
            initializers.message(5, &numbers(&shape, &column));
        }
        graph.message(1, &node("Add", &[&held, &quiet], &spoken, &[]));
        graph.message(1, &node("Cast", &[&spoken], &output.name, &[int("to", element(output.element))]));
    }
    if let Some((side, values)) = last {
        initializers.message(5, &tensor("last", &[side, side], values));
    }
    graph.text(2, &card.id);
    graph.0.extend(initializers.0);
    card.inputs.iter().for_each(|input| graph.message(11, &declared(input)));
    card.outputs.iter().for_each(|output| graph.message(12, &declared(output)));
    let mut opset = Message::default();
    opset.text(1, "");
    opset.number(2, 13);
    let mut model = Message::default();
    model.number(1, 8);
    model.message(7, &graph);
    model.message(8, &opset);
    model.0
}

/// The card's dimensions, one where it leaves them free.
pub fn sizes(spec: &TensorSpec) -> Vec<usize> {
    spec.shape.iter().map(|dimension| dimension.fixed().unwrap_or(FREE)).collect()
}

/// A message of protocol buffers in the making; numbers of fields as in onnx.proto3.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[Message]) -> Message {
    let mut node = Message::default();
    inputs.iter().for_each(|input| node.text(1, input));
    node.text(2, output);
    node.text(4, operator);
    attributes.iter().for_each(|attribute| node.message(5, attribute));
    node
}

fn int(name: &str, value: u64) -> Message {
    let mut attribute = Message::default();
    attribute.text(1, name);
    attribute.number(3, value);
    attribute.number(20, 2);
    attribute
}

fn ints(name: &str, values: &[u64]) -> Message {
    let mut attribute = Message::default();
    attribute.text(1, name);
    values.iter().for_each(|value| attribute.number(8, *value));
    attribute.number(20, 7);
    attribute
}

fn numbers(name: &str, values: &[i64]) -> Message {
    let mut tensor = Message::default();
    tensor.number(1, values.len() as u64);
    tensor.number(2, 7);
    tensor.text(8, name);
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor.bytes(9, &bytes);
    tensor
}

fn text(name: &str, value: &str) -> Message {
    let mut attribute = Message::default();
    attribute.text(1, name);
    attribute.text(4, value);
    attribute.number(20, 3);
    attribute
}

fn tensor(name: &str, sizes: &[usize], values: &[f32]) -> Message {
    let mut tensor = Message::default();
    sizes.iter().for_each(|size| tensor.number(1, *size as u64));
    tensor.number(2, 1);
    tensor.text(8, name);
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor.bytes(9, &bytes);
    tensor
}

fn declared(spec: &TensorSpec) -> Message {
    let mut shape = Message::default();
    for dimension in &spec.shape {
        let mut size = Message::default();
        match dimension.fixed() {
            Some(fixed) => size.number(1, fixed as u64),
            None => size.text(2, "free"),
        }
        shape.message(1, &size);
    }
    let (mut tensor, mut kind, mut info) = (Message::default(), Message::default(), Message::default());
    tensor.number(1, element(spec.element));
    tensor.message(2, &shape);
    kind.message(1, &tensor);
    info.text(1, &spec.name);
    info.message(2, &kind);
    info
}

fn element(element: Element) -> u64 {
    match element {
        Element::F32 => 1,
        Element::I64 => 7,
        Element::F16 => 10,
        Element::F64 => 11,
    }
}
