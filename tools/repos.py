"""What the scripts that make repos have in common: a repo is made once, and is there whole or not at all."""

import hashlib
import json
import shutil
from pathlib import Path


def make(target, scripts, build):
    """Has `build(folder)` fill a folder that then becomes `target`, unless these very scripts have made it already."""
    # Beside the repo, not in it: everything in the repo's folder is served as part of it.
    marker = target.with_name(f".{target.name}.complete.json")
    script = hashlib.sha256(b"".join(Path(path).read_bytes() for path in (__file__, *scripts))).hexdigest()
    if is_complete(target, marker, script):
        print(f"{target} is up to date")
        return
    print(f"making {target}", flush=True)
    marker.unlink(missing_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    build(partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    paths = [path for path in sorted(target.rglob("*")) if path.is_file()]
    files = {path.relative_to(target).as_posix(): path.stat().st_size for path in paths}
    write_json(marker, {"script": script, "files": files})
    print(f"{target.name}: {len(files)} files, {sum(files.values()) / 1e6:.0f} MB")


def is_complete(target, marker, script):
    try:
        made = json.loads(marker.read_text())
        return made["script"] == script and all(
            (target / name).stat().st_size == size for name, size in made["files"].items()
        )
    except (OSError, ValueError, KeyError):
        return False


def write_json(path, value, end="\n", sort_keys=False):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=sort_keys) + end, encoding="utf-8")
