//! What an ONNX file says of itself, read without loading it: its inputs and outputs, and its last initializer, in which some
//! swappers keep a matrix. Whatever the file holds, no more than a few kilobytes and that matrix are read into memory.
//!
//! The file is one protocol-buffers message (onnx.proto3); the numbers below are its fields'.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::card::{Dimension, Element, TensorSpec};

/// Longest name of a tensor, bytes.
const NAME_MAX: u64 = 4096;
/// Most inputs, outputs or dimensions.
const COUNT_MAX: usize = 4096;
/// Largest matrix that is read, elements: 4096².
const MATRIX_MAX: u64 = 1 << 24;

/// What a file says.
#[derive(Debug, Default)]
pub struct Summary {
    /// Inputs of the graph, without its initializers; `None` for a type that no card can declare.
    pub inputs: Vec<Option<TensorSpec>>,
    /// Outputs of the graph.
    pub outputs: Vec<Option<TensorSpec>>,
    /// Where the last initializer stands.
    last: Option<Message>,
}

/// A message within the file: its first byte and one past its last.
#[derive(Clone, Copy, Debug)]
struct Message {
    start: u64,
    end: u64,
}

/// A field of a message: its number, and its value.
enum Value {
    Number(u64),
    Message(Message),
    Other,
}

/// A file that is being read.
pub struct Onnx {
    file: BufReader<File>,
    length: u64,
}

impl Onnx {
    /// Opens a file.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: BufReader::new(file), length })
    }

    /// Reads what the graph declares.
    ///
    /// # Errors
    /// `InvalidData` for what is no ONNX file, or one that was cut off; what the system says.
    pub fn summary(&mut self) -> io::Result<Summary> {
        let mut graph = None;
        self.each(Message { start: 0, end: self.length }, |_, field, value| {
            if let (7, Value::Message(message)) = (field, value) {
                graph = Some(message);
            }
            Ok(())
        })?;
        let graph = graph.ok_or_else(|| invalid("it holds no graph"))?;
        let (mut summary, mut inputs, mut initializers) = (Summary::default(), Vec::new(), Vec::new());
        self.each(graph, |onnx, field, value| {
            let Value::Message(message) = value else { return Ok(()) };
            match field {
                5 => {
                    summary.last = Some(message);
                    let name = onnx.text_field(message, 8)?;
                    push(&mut initializers, name)?;
                }
                11 => push(&mut inputs, onnx.declared(message)?)?,
                12 => push(&mut summary.outputs, onnx.declared(message)?.1)?,
                _ => {}
            }
            Ok(())
        })?;
        initializers.sort_unstable();
        let is_fed = |(name, _): &(String, _)| initializers.binary_search(name).is_err();
        summary.inputs = inputs.into_iter().filter(is_fed).map(|(_, spec)| spec).collect();
        if summary.outputs.is_empty() {
            return Err(invalid("its graph has no output"));
        }
        Ok(summary)
    }

    /// The last initializer of the graph, if it is a square matrix of floats: its side and its elements, row by row.
    ///
    /// # Errors
    /// As [`Onnx::summary`]; `InvalidData` if it is something else.
    pub fn last_matrix(&mut self) -> io::Result<(usize, Vec<f32>)> {
        let last = self.summary()?.last.ok_or_else(|| invalid("its graph has no initializer"))?;
        let (mut sizes, mut kind, mut raw, mut floats) = (Vec::new(), 0, None, None);
        self.each(last, |onnx, field, value| {
            match (field, value) {
                (1, Value::Number(size)) => push(&mut sizes, size)?,
                (1, Value::Message(packed)) => onnx.packed(packed, &mut sizes)?,
                (2, Value::Number(number)) => kind = number,
                (4, Value::Message(message)) => floats = Some(message),
                (9, Value::Message(message)) => raw = Some(message),
                _ => {}
            }
            Ok(())
        })?;
        let [rows, columns] = sizes[..] else {
            return Err(invalid(&format!("its last initializer has {} dimensions (expected 2)", sizes.len())));
        };
        let elements = rows.checked_mul(columns).filter(|count| *count <= MATRIX_MAX && rows == columns && rows > 0);
        let elements = elements
            .ok_or_else(|| invalid(&format!("its last initializer is {rows}x{columns} (expected a square)")))?;
        let width = match kind {
            1 => 4,
            10 => 2,
            _ => {
                return Err(invalid(&format!(
                    "its last initializer is of type {kind} (expected floats of 16 or 32 bits)"
                )));
            }
        };
        let bytes =
            raw.or(floats.filter(|_| width == 4)).ok_or_else(|| invalid("its last initializer is in another file"))?;
        if bytes.end - bytes.start != elements * width {
            let found = bytes.end - bytes.start;
            return Err(invalid(&format!("its last initializer has {found} bytes (expected {})", elements * width)));
        }
        let bytes = self.bytes(bytes)?;
        let matrix: Vec<f32> = match width {
            4 => bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
            _ => bytes.as_chunks::<2>().0.iter().map(|two| half::f16::from_le_bytes(*two).to_f32()).collect(),
        };
        match matrix.iter().all(|element| element.is_finite()) {
            true => Ok((rows as usize, matrix)),
            false => Err(invalid("its last initializer holds what is no number")),
        }
    }

    /// Name and type of a graph's input or output.
    fn declared(&mut self, info: Message) -> io::Result<(String, Option<TensorSpec>)> {
        let name = self.text_field(info, 1)?;
        let tensor = match self.message_field(info, 2)? {
            Some(kind) => self.message_field(kind, 1)?,
            None => None,
        };
        let Some(tensor) = tensor else { return Ok((name, None)) };
        let (mut element, mut shape) = (None, Vec::new());
        self.each(tensor, |onnx, field, value| {
            match (field, value) {
                (1, Value::Number(kind)) => element = element_of(kind),
                (2, Value::Message(sizes)) => onnx.each(sizes, |onnx, field, value| {
                    let (1, Value::Message(size)) = (field, value) else { return Ok(()) };
                    let mut dimension = Dimension::Free(String::new());
                    onnx.each(size, |_, field, value| {
                        if let (1, Value::Number(fixed @ 1..)) = (field, value) {
                            let fixed = usize::try_from(fixed).map_err(|_| invalid("a dimension is too large"))?;
                            dimension = Dimension::Fixed(fixed);
                        }
                        Ok(())
                    })?;
                    push(&mut shape, dimension)
                })?,
                _ => {}
            }
            Ok(())
        })?;
        let spec = element.map(|element| TensorSpec { name: name.clone(), by_place: false, element, shape });
        Ok((name, spec))
    }

    /// Calls `take` for each field of a message, with the reader free to be used within.
    fn each(
        &mut self,
        message: Message,
        mut take: impl FnMut(&mut Self, u64, Value) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut at = message.start;
        while at < message.end {
            self.seek(at)?;
            let key = self.varint(&mut at)?;
            let value = match key & 7 {
                0 => Value::Number(self.varint(&mut at)?),
                2 => {
                    let length = self.varint(&mut at)?;
                    let inner = Message { start: at, end: at.saturating_add(length) };
                    at = inner.end;
                    Value::Message(inner)
                }
                1 | 5 => {
                    at = at.saturating_add(if key & 7 == 1 { 8 } else { 4 });
                    Value::Other
                }
                _ => return Err(invalid("it is no protocol-buffers message")),
            };
            if at > message.end {
                return Err(invalid("a part of it reaches beyond its end: it was cut off, or is no ONNX file"));
            }
            take(self, key >> 3, value)?;
        }
        Ok(())
    }

    fn message_field(&mut self, message: Message, wanted: u64) -> io::Result<Option<Message>> {
        let mut found = None;
        self.each(message, |_, field, value| {
            if let Value::Message(inner) = value
                && field == wanted
            {
                found = Some(inner);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn text_field(&mut self, message: Message, wanted: u64) -> io::Result<String> {
        let Some(text) = self.message_field(message, wanted)? else { return Ok(String::new()) };
        if text.end - text.start > NAME_MAX {
            return Err(invalid("the name of a tensor is too long"));
        }
        String::from_utf8(self.bytes(text)?).map_err(|_| invalid("the name of a tensor is not valid utf-8"))
    }

    fn packed(&mut self, numbers: Message, into: &mut Vec<u64>) -> io::Result<()> {
        let mut at = numbers.start;
        self.seek(at)?;
        while at < numbers.end {
            let number = self.varint(&mut at)?;
            push(into, number)?;
        }
        Ok(())
    }

    /// Reads a part that is known to be small enough.
    fn bytes(&mut self, part: Message) -> io::Result<Vec<u8>> {
        self.seek(part.start)?;
        let mut bytes = vec![0; (part.end - part.start) as usize];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn seek(&mut self, to: u64) -> io::Result<()> {
        let from = self.file.stream_position()?;
        match i64::try_from(i128::from(to) - i128::from(from)) {
            Ok(by) => self.file.seek_relative(by),
            Err(_) => self.file.seek(SeekFrom::Start(to)).map(drop),
        }
    }

    fn varint(&mut self, at: &mut u64) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            *at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(invalid("it is no protocol-buffers message"))
    }
}

/// onnx.proto3's `TensorProto.DataType`.
fn element_of(kind: u64) -> Option<Element> {
    match kind {
        1 => Some(Element::F32),
        7 => Some(Element::I64),
        10 => Some(Element::F16),
        11 => Some(Element::F64),
        _ => None,
    }
}

fn push<T>(list: &mut Vec<T>, item: T) -> io::Result<()> {
    // Initializers are many; what is kept of one is its name.
    if list.len() >= 16 * COUNT_MAX {
        return Err(invalid("it has too many tensors"));
    }
    list.push(item);
    Ok(())
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builtin(file: &str) -> Onnx {
        Onnx::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/builtin").join(file)).unwrap()
    }

    #[test]
    fn files_tell_their_tensors() {
        let summary = builtin("iris_landmark.onnx").summary().unwrap();
        let texts = |specs: &[Option<TensorSpec>]| {
            let text = |spec: &Option<TensorSpec>| spec.as_ref().map(|spec| format!("{} {spec}", spec.name));
            specs.iter().map(text).collect::<Option<Vec<_>>>().unwrap()
        };
        assert_eq!(texts(&summary.inputs), ["input_1 f32[1, 64, 64, 3]"]);
        assert_eq!(texts(&summary.outputs), ["output_eyes_contours_and_brows f32[1, 213]"]);
        let yunet = builtin("yunet_2023mar_dyn.onnx").summary().unwrap();
        assert_eq!(texts(&yunet.inputs), ["input f32[1, 3, free, free]"]);
        assert_eq!(yunet.outputs.len(), 12);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let whole =
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/builtin/iris_landmark.onnx")).unwrap();
        for (name, bytes) in [
            ("empty", &b""[..]),
            ("text", b"hello, I am a network, believe me"),
            ("cut off", &whole[..whole.len() / 2]),
            ("cut off in its head", &whole[..20]),
            ("endless number", &[0xff; 40]),
            ("a graph beyond all numbers", &[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            assert!(Onnx::open(file.path()).unwrap().summary().is_err(), "{name}");
        }
        let error = builtin("iris_landmark.onnx").last_matrix().unwrap_err().to_string();
        assert!(error.starts_with("its last initializer "), "{error}");
    }
}
