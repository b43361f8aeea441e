//! An unpickler for state dicts, and for nothing else: what it can't make is refused by name.
//!
//! It knows the opcodes and the globals that `torch.load(weights_only=True)` knows and that a state dict needs
//! (`torch/_weights_only_unpickler.py`). Nothing is ever called: tensors become descriptions of where they lie.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::TorchFault;
use crate::checkpoint::entry::dtype_named;
use crate::tensor::Dtype;

/// Opcodes of a pickle: forty a tensor, about. Each makes one value at most, which bounds the memory.
const MAX_OPS: usize = 4_000_000;
/// Tuples within tuples. Lists and dicts don't count: they lie side by side.
const MAX_DEPTH: u32 = 100;
/// torch has no tensor of more dimensions.
const MAX_DIMS: usize = 64;

/// A value on the pickle's stack. What can change after it is made lies in a list of its own.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// None, numbers that aren't integers, and what no tensor depends on.
    Other,
    Bool,
    Int(i64),
    Text(Rc<str>),
    Tuple(Rc<Tuple>),
    List(usize),
    Dict(usize),
    Global(Global),
    Storage(Rc<Storage>),
    Tensor(Rc<Tensor>),
}

#[derive(Debug)]
pub(super) struct Tuple {
    items: Vec<Value>,
    depth: u32,
}

/// What a pickle may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor2,
    RebuildTensor3,
    RebuildParameter,
    Size,
    /// `torch.device` and `torch.Tensor`'s layouts: their calls give nothing that matters.
    Ignored,
    /// A typed storage.
    Storage(Dtype),
    /// A storage of bytes.
    UntypedStorage,
    Dtype(Dtype),
}

/// Bytes that tensors share.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// The archive's entry is `data/` and this.
    pub key: Rc<str>,
    /// `None`: of bytes.
    pub dtype: Option<Dtype>,
    /// Elements; bytes where it has no dtype.
    pub numel: u64,
}

/// A view of a storage; numbers are in elements.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub storage: Rc<Storage>,
    pub dtype: Dtype,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// The tensors of a pickled state dict by name. Entries that are no tensors are left out, as transformers leaves them.
pub(super) fn state_dict(pickle: &[u8]) -> Result<BTreeMap<String, Rc<Tensor>>, TorchFault> {
    let mut machine = Machine { bytes: pickle, ..Machine::default() };
    let top = machine.run().map_err(|reason| match reason {
        Fault::Global(global) => TorchFault::Global { global },
        Fault::Malformed(reason) => TorchFault::Pickle { at: machine.at, reason },
    })?;
    let no_tensors = |found: String| TorchFault::NoTensors { found };
    let Value::Dict(dict) = top else {
        return Err(no_tensors(format!("{} in a dict's place", top.kind())));
    };
    let items = machine.dicts.get(dict).map(Vec::as_slice).unwrap_or_default();
    let mut tensors = BTreeMap::new();
    for (key, value) in items {
        if let (Value::Text(key), Value::Tensor(tensor)) = (key, value) {
            tensors.insert(key.to_string(), tensor.clone());
        }
    }
    if tensors.is_empty() && !items.is_empty() {
        let names = items.iter().take(5).map(|(key, value)| match key {
            Value::Text(key) => format!("{:?} ({})", key.chars().take(60).collect::<String>(), value.kind()),
            key => key.kind().to_owned(),
        });
        return Err(no_tensors(names.collect::<Vec<_>>().join(", ")));
    }
    Ok(tensors)
}

enum Fault {
    Global(String),
    Malformed(String),
}

impl From<&str> for Fault {
    fn from(reason: &str) -> Self {
        Fault::Malformed(reason.to_owned())
    }
}

impl Value {
    /// For messages.
    fn kind(&self) -> &'static str {
        match self {
            Value::Other => "a plain value",
            Value::Bool => "a bool",
            Value::Int(_) => "an int",
            Value::Text(_) => "a str",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dict",
            Value::Global(_) => "a type",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }

    fn number(&self) -> Result<u64, Fault> {
        match self {
            Value::Int(int) => u64::try_from(*int).map_err(|_| "a tensor has a negative size, stride or offset".into()),
            other => Err(Fault::Malformed(format!("{} in a number's place", other.kind()))),
        }
    }

    fn numbers(&self) -> Result<Vec<u64>, Fault> {
        match self {
            Value::Tuple(tuple) if tuple.items.len() > MAX_DIMS => Err("a tensor has too many dimensions".into()),
            Value::Tuple(tuple) => tuple.items.iter().map(Value::number).collect(),
            other => Err(Fault::Malformed(format!("{} in a shape's place", other.kind()))),
        }
    }
}

impl Global {
    fn find(module: &str, name: &str) -> Option<Global> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor2,
            ("torch._utils", "_rebuild_tensor_v3") => Global::RebuildTensor3,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Global::RebuildParameter,
            ("torch", "Size") => Global::Size,
            ("torch", "device") => Global::Ignored,
            ("torch.storage", "UntypedStorage") => Global::UntypedStorage,
            ("torch", name) => match name.strip_suffix("Storage") {
                Some(name) => Global::Storage(storage_dtype(name)?),
                None => Global::Dtype(dtype_named(name)?),
            },
            _ => return None,
        })
    }
}

fn storage_dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "Double" => Dtype::F64,
        "Float" => Dtype::F32,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" => Dtype::U8,
        "Bool" => Dtype::Bool,
        "ComplexFloat" => Dtype::C64,
        _ => return None,
    })
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value>,
    lists: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Value, Fault> {
        for _ in 0..MAX_OPS {
            let op = self.byte()?;
            if op == b'.' {
                return self.pop();
            }
            self.step(op)?;
        }
        Err("it has more operations than any checkpoint".into())
    }

    fn step(&mut self, op: u8) -> Result<(), Fault> {
        match op {
            // PROTO
            0x80 => drop(self.byte()?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' | 0x8f => self.push(Value::Other),
            0x88 | 0x89 => self.push(Value::Bool),
            b')' => self.push_tuple(Vec::new())?,
            b']' => {
                self.lists.push(Vec::new());
                self.push(Value::List(self.lists.len() - 1));
            }
            b'}' => {
                let dict = self.new_dict(Vec::new());
                self.push(dict);
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push_tuple(items)?;
            }
            // TUPLE1 to TUPLE3
            0x85..=0x87 => {
                let start = self.stack.len().checked_sub(usize::from(op - 0x84)).ok_or("its stack is empty")?;
                if self.marks.last().is_some_and(|mark| *mark > start) {
                    return Err("its stack is empty".into());
                }
                let items = self.stack.split_off(start);
                self.push_tuple(items)?;
            }
            b'K' => {
                let int = self.byte()?;
                self.push(Value::Int(int.into()));
            }
            b'M' => {
                let int = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(int.into()));
            }
            b'J' => {
                let int = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(int.into()));
            }
            // LONG1
            0x8a => {
                let len = self.byte()?;
                let bytes = self.take(len.into())?;
                self.push(long(bytes));
            }
            b'G' => {
                self.take(8)?;
                self.push(Value::Other);
            }
            b'X' => {
                let len = u32::from_le_bytes(self.array()?);
                self.push_text(len as usize)?;
            }
            // SHORT_BINSTRING, SHORT_BINUNICODE
            b'U' | 0x8c => {
                let len = self.byte()?;
                self.push_text(len.into())?;
            }
            b'q' | b'r' => {
                let index = self.index(op == b'q')?;
                let value = self.top()?.clone();
                self.memo.insert(index, value);
            }
            b'h' | b'j' => {
                let index = self.index(op == b'h')?;
                let value = self.memo.get(&index).cloned().ok_or("it gets what it never put")?;
                self.push(value);
            }
            b'a' => {
                let item = self.pop()?;
                self.list()?.push(item);
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.list()?.extend(items);
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.dict()?.push((key, value));
            }
            b'u' => {
                let pairs = pairs(self.pop_mark()?)?;
                self.dict()?.extend(pairs);
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = Global::find(module, name).ok_or_else(|| Fault::Global(format!("{module}.{name}")))?;
                self.push(Value::Global(global));
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = storage(&id)?;
                self.push(storage);
            }
            b'R' => {
                let args = self.pop()?;
                let function = self.pop()?;
                let made = self.call(&function, &args)?;
                self.push(made);
            }
            // BUILD: attributes that no tensor depends on, such as a state dict's `_metadata`.
            b'b' => drop(self.pop()?),
            _ => return Err(Fault::Malformed(format!("operation 0x{op:02x} has no place in a state dict"))),
        }
        Ok(())
    }

    fn call(&mut self, function: &Value, args: &Value) -> Result<Value, Fault> {
        let (Value::Global(function), Value::Tuple(args)) = (function, args) else {
            return Err(Fault::Malformed(format!("{} is called", function.kind())));
        };
        match (function, args.items.as_slice()) {
            (Global::OrderedDict, []) => Ok(self.new_dict(Vec::new())),
            // Python 2 gave all the pairs at once. They are moved: nothing else reads that list.
            (Global::OrderedDict, [Value::List(list)]) => {
                let list = self.lists.get_mut(*list).map(std::mem::take).unwrap_or_default();
                let pair = |item: Value| {
                    let pair = if let Value::List(pair) = item { self.lists.get(pair) } else { None };
                    match pair.map(Vec::as_slice) {
                        Some([key, value]) => Ok((key.clone(), value.clone())),
                        _ => Err(Fault::from("an OrderedDict is made of something else than pairs")),
                    }
                };
                let items = list.into_iter().map(pair).collect::<Result<Vec<_>, _>>()?;
                Ok(self.new_dict(items))
            }
            (Global::RebuildTensor2, [storage, offset, shape, strides, ..]) => {
                tensor(storage, offset, shape, strides, None)
            }
            (
                Global::RebuildTensor3,
                [storage, offset, shape, strides, _, _, Value::Global(Global::Dtype(dtype)), ..],
            ) => tensor(storage, offset, shape, strides, Some(*dtype)),
            (Global::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => Ok(tensor.clone()),
            (Global::Size, [shape @ Value::Tuple(_)]) => Ok(shape.clone()),
            (Global::Ignored, _) => Ok(Value::Other),
            _ => Err("a call has the wrong arguments".into()),
        }
    }

    fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    fn new_dict(&mut self, items: Vec<(Value, Value)>) -> Value {
        self.dicts.push(items);
        Value::Dict(self.dicts.len() - 1)
    }

    fn push_tuple(&mut self, items: Vec<Value>) -> Result<(), Fault> {
        let depth = |item: &Value| if let Value::Tuple(tuple) = item { tuple.depth } else { 0 };
        let depth = items.iter().map(depth).max().unwrap_or(0) + 1;
        if depth > MAX_DEPTH {
            return Err("its tuples are nested deeper than any state dict's".into());
        }
        self.push(Value::Tuple(Rc::new(Tuple { items, depth })));
        Ok(())
    }

    fn push_text(&mut self, len: usize) -> Result<(), Fault> {
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| "a string is not UTF-8")?;
        self.push(Value::Text(text.into()));
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Value, Fault> {
        if self.stack.len() <= self.floor() {
            return Err("its stack is empty".into());
        }
        self.stack.pop().ok_or_else(|| "its stack is empty".into())
    }

    fn top(&self) -> Result<&Value, Fault> {
        self.stack.get(self.floor()..).and_then(<[Value]>::last).ok_or_else(|| "its stack is empty".into())
    }

    fn pop_mark(&mut self) -> Result<Vec<Value>, Fault> {
        let mark = self.marks.pop().ok_or("its stack has no mark")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn list(&mut self) -> Result<&mut Vec<Value>, Fault> {
        match self.top()? {
            Value::List(list) => {
                let list = *list;
                self.lists.get_mut(list).ok_or_else(|| "a list is not there".into())
            }
            other => Err(Fault::Malformed(format!("it appends to {}", other.kind()))),
        }
    }

    fn dict(&mut self) -> Result<&mut Vec<(Value, Value)>, Fault> {
        match self.top()? {
            Value::Dict(dict) => {
                let dict = *dict;
                self.dicts.get_mut(dict).ok_or_else(|| "a dict is not there".into())
            }
            other => Err(Fault::Malformed(format!("it sets an item of {}", other.kind()))),
        }
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn index(&mut self, short: bool) -> Result<u32, Fault> {
        if short { self.byte().map(u32::from) } else { self.array().map(u32::from_le_bytes) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N)?.first_chunk().copied().ok_or_else(|| "it ends early".into())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(len).ok_or("it ends early")?;
        let bytes = self.bytes.get(self.at..end).ok_or("it ends early")?;
        self.at = end;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| *byte == b'\n').ok_or("it ends early")?;
        let line = std::str::from_utf8(self.take(len)?).map_err(|_| "a global's name is not UTF-8")?;
        self.take(1)?;
        Ok(line)
    }
}

/// A little-endian number of any length; one that needs more than 64 bits is no size of anything.
fn long(bytes: &[u8]) -> Value {
    let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    if bytes.len() > wide.len() {
        return Value::Other;
    }
    wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Value::Int(i64::from_le_bytes(wide))
}

fn pairs(items: Vec<Value>) -> Result<Vec<(Value, Value)>, Fault> {
    if !items.len().is_multiple_of(2) {
        return Err("it sets a key without a value".into());
    }
    let mut items = items.into_iter();
    Ok(std::iter::from_fn(|| items.next().zip(items.next())).collect())
}

/// `("storage", type, key, device, numel)`
fn storage(id: &Value) -> Result<Value, Fault> {
    let Value::Tuple(id) = id else {
        return Err("a storage is named by something else than a tuple".into());
    };
    let [Value::Text(kind), Value::Global(class), Value::Text(key), _, numel, ..] = id.items.as_slice() else {
        return Err("a storage is not named by kind, type, key, device and size".into());
    };
    let dtype = match class {
        Global::Storage(dtype) => Some(*dtype),
        Global::UntypedStorage => None,
        _ => return Err("a storage is of no storage type".into()),
    };
    if &**kind != "storage" {
        return Err("it names something else than a storage".into());
    }
    Ok(Value::Storage(Rc::new(Storage { key: key.clone(), dtype, numel: numel.number()? })))
}

fn tensor(
    storage: &Value,
    offset: &Value,
    shape: &Value,
    strides: &Value,
    dtype: Option<Dtype>,
) -> Result<Value, Fault> {
    let Value::Storage(storage) = storage else {
        return Err("a tensor is made of something else than a storage".into());
    };
    let (shape, strides) = (shape.numbers()?, strides.numbers()?);
    if shape.len() != strides.len() {
        return Err("a tensor has another number of strides than of dimensions".into());
    }
    let dtype = dtype.or(storage.dtype).ok_or("a tensor has no dtype")?;
    let (storage, offset) = (storage.clone(), offset.number()?);
    Ok(Value::Tensor(Rc::new(Tensor { storage, dtype, offset, shape, strides })))
}
