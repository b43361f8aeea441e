"""Lays out the sample model for llama.cpp: the GGUF in 4 bits that the sample is made from, and its values in float16.

python gguf_models.py OUT_FOLDER
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, dequantize

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
from sample_model import find_gguf


def write_halves(source, path):
    """A copy in which every matrix is float16, and every vector is float32 as before."""
    reader = GGUFReader(source)
    writer = GGUFWriter(path, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        # What the writer says itself.
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind, *of = field.types
        writer.add_key_value(name, field.contents(), kind, sub_type=of[-1] if kind == GGUFValueType.ARRAY else None)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        kind = np.float16 if values.ndim > 1 else np.float32
        writer.add_tensor(tensor.name, np.ascontiguousarray(values, dtype=kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main(out):
    source = find_gguf()
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, out / "q4_1.gguf")
    write_halves(source, out / "f16.gguf")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
